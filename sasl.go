// SASL (RFC 4422): the exchange in which every mail protocol asks for a name and a password, and its mechanisms.
package main

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"
)

// The mechanisms, strongest first, as they are named on the wire.
const (
	mechScramPlus = "SCRAM-SHA-256-PLUS"
	mechScram     = "SCRAM-SHA-256"
	mechPlain     = "PLAIN"
	mechLogin     = "LOGIN"
)

// loginFrom is what the mechanisms have to know of a connection.
type loginFrom struct {
	addr    netip.Addr
	plain   bool   // passwords may cross it as they are (conn.mayLogIn)
	binding []byte // its channel binding tls-exporter (RFC 9266), nil without
	shy     bool   // clients choke on the announcement of PLUS there: it is taken and not announced
	login   bool   // the protocol has the mechanism LOGIN too, which is only SMTP's habit
}

// Mechanisms lists what a connection may use, in the order in which it is announced.
func (from loginFrom) Mechanisms() []string {
	var list []string
	if from.binding != nil && !from.shy {
		list = append(list, mechScramPlus)
	}
	list = append(list, mechScram)
	if from.plain {
		list = append(list, mechPlain)
		if from.login {
			list = append(list, mechLogin)
		}
	}
	return list
}

// Login runs a whole exchange and returns who has logged in. mech and initial are as the client sent them: initial "" is no
// initial response and "=" an empty one (RFC 4954 §4). ask must send a challenge, which is base64 already and may be "", and
// return the client's next line; its errors end the exchange and are returned as they are. A cancelling "*" and bad base64
// are understood here. Other errors: ErrMechanism, ErrAuthPrivacy, ErrAuthSyntax, ErrAuthCancelled, those of Auth.Password.
func (a *Auth) Login(from loginFrom, mech, initial string, ask func(challenge string) (string, error)) (User, error) {
	x, challenge, err := a.begin(from, mech)
	line, have := initial, initial != ""
	for done := false; !done && err == nil; have = false {
		if !have {
			line, err = ask(base64.StdEncoding.EncodeToString(challenge))
			if err != nil {
				return User{}, err
			}
		}
		var response []byte
		response, err = saslDecode(line)
		if err == nil {
			challenge, done, err = x.next(response)
		}
	}
	if err != nil {
		return User{}, err
	}
	return x.user, nil
}

// saslDecode reads one line of an exchange. Padding may be missing.
func saslDecode(line string) ([]byte, error) {
	line = strings.TrimSpace(line)
	if line == "*" {
		return nil, ErrAuthCancelled
	}
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(line, "="))
	if err != nil {
		return nil, fmt.Errorf("%w: not base64", ErrAuthSyntax)
	}
	return b, nil
}

// saslExchange is one exchange under way. next takes the client's response and returns the next challenge, or true when the
// exchange is over and user is set; it is replaced by each step with the one that follows.
type saslExchange struct {
	a    *Auth
	from loginFrom
	next func(response []byte) (challenge []byte, done bool, err error)
	user User

	name        string // LOGIN and SCRAM: who it is
	plus        bool
	known       bool
	secret      scramSecret
	serverNonce string // a test may set it
	gs2, first  string // SCRAM: the client's header with the binding, and both first messages
	nonce       string
}

// begin looks the mechanism up, and returns the first challenge for a client that sent no initial response.
func (a *Auth) begin(from loginFrom, mech string) (*saslExchange, []byte, error) {
	x, challenge := &saslExchange{a: a, from: from}, []byte(nil)
	switch mech = strings.ToUpper(mech); mech {
	case mechPlain:
		x.next = x.plain
	case mechLogin:
		x.next, challenge = x.loginName, []byte("Username:")
		if !from.login {
			return nil, nil, ErrMechanism
		}
	case mechScram, mechScramPlus:
		x.next, x.plus = x.scramFirst, mech == mechScramPlus
		if x.plus && from.binding == nil {
			return nil, nil, ErrMechanism
		}
		return x, nil, nil
	default:
		return nil, nil, ErrMechanism
	}
	if !from.plain {
		return nil, nil, ErrAuthPrivacy
	}
	return x, challenge, nil
}

// plain is PLAIN: [authzid] NUL authcid NUL passwd (RFC 4616 §2).
func (x *saslExchange) plain(response []byte) ([]byte, bool, error) {
	f := strings.Split(string(response), "\x00")
	if len(f) != 3 || f[1] == "" {
		return nil, false, fmt.Errorf("%w: PLAIN takes [name] NUL name NUL password", ErrAuthSyntax)
	}
	return x.password(f[0], f[1], f[2])
}

// password ends the mechanisms that send a password as it is. Nobody may act for another: an authorization identity must
// be the user's own (which answers like a wrong password, and costs as much).
func (x *saslExchange) password(authzid, name, password string) ([]byte, bool, error) {
	if !x.a.sameName(authzid, name) {
		password = ""
	}
	var err error
	x.user, err = x.a.Password(x.from.addr, name, password)
	return nil, err == nil, err
}

func (a *Auth) sameName(authzid, name string) bool {
	if authzid == "" {
		return true
	}
	z, _ := a.loginKey(authzid)
	n, _ := a.loginKey(name)
	return z == n
}

// loginName is the first half of LOGIN, which no RFC describes. Outlook for one wants the challenges spelled exactly so,
// and some clients send the name as an initial response.
func (x *saslExchange) loginName(response []byte) ([]byte, bool, error) {
	x.name, x.next = string(response), x.loginPassword
	return []byte("Password:"), false, nil
}

func (x *saslExchange) loginPassword(response []byte) ([]byte, bool, error) {
	return x.password("", x.name, string(response))
}
