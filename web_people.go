// Completion of addresses: people of this house and of the address book.
package main

import (
	"net/http"
	"strings"
)

// getPeople completes an address.
func (q *webReq) getPeople() error {
	part := strings.TrimSpace(q.r.URL.Query().Get("q"))
	list := []string{}
	if part != "" && len(part) < 100 {
		var found []Contact
		var users []webIdentity
		err := q.s.store.Read(func(tx *Tx) error {
			var err error
			found, err = tx.FindContacts(q.user.ID, part, webMaxOffered)
			if err != nil {
				return err
			}
			users, err = webHouse(tx)
			return err
		})
		if err != nil {
			return err
		}
		seen := map[string]bool{}
		for _, c := range found {
			seen[c.Address] = true
			list = append(list, webPlain(c.Name, c.Address))
		}
		for _, u := range users { // people of this house, whether they were written to or not
			if !seen[u.Address] && len(list) < webMaxOffered && strings.Contains(strings.ToLower(u.Full()), strings.ToLower(part)) {
				list = append(list, u.Full())
			}
		}
	}
	return q.sendJSON(http.StatusOK, list)
}

// webHouse lists who lives here, with the names that they write under.
func webHouse(tx *Tx) ([]webIdentity, error) {
	users, err := tx.Users()
	if err != nil {
		return nil, err
	}
	var all []webIdentity
	for _, u := range users {
		if u.Disabled {
			continue
		}
		i := webIdentity{Address: u.Name}
		if len(users) <= webMaxNamed {
			var own []webIdentity
			if err := tx.Preference(u.ID, PrefIdentity, &own); err != nil {
				return nil, err
			}
			if len(own) > 0 {
				i.Name = own[0].Name
			}
		}
		all = append(all, i)
	}
	return all, nil
}
