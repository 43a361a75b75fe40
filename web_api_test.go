package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestAPISend sends by HTTP and JSON as a sensor would, with what it may and may not do.
func TestAPISend(t *testing.T) {
	s := startServer(t)
	secret, stored := NewAppPassword()
	s.write(t, func(tx *Tx) error {
		u, err := tx.UserByName("ann@home.arpa")
		if err != nil {
			return err
		}
		return tx.AddAppPassword(u.ID, "sensor", stored)
	})
	base := newWebClient(t, s).base
	ask := func(name, password, body string) (int, string, http.Header) {
		t.Helper()
		r, err := http.NewRequest("POST", base+"/api/send", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		if name != "" {
			r.SetBasicAuth(name, password)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %v, %s", body, err, resp.Header.Get("Content-Type"))
		}
		return resp.StatusCode, string(b), resp.Header
	}
	for _, x := range []struct {
		name, password, body string
		code                 int
		want                 string
	}{
		{"", "", `{"to":"bob"}`, 401, "app password"},
		{"ann", "wrong", `{"to":"bob"}`, 401, "app password"},
		{"ann", "secret", `{"to":"bob"}`, 401, "app password"}, // the person's own is for people
		{"ann", secret, `{"to":"bob","subject":"Wärme","text":"21 °C\n.\n"}`, 200, `"recipients":1`},
		{"ann@home.arpa", secret, `{"to":["Bob <bob@home.arpa>","ann"],"cc":"bob","html":"<b>hi</b>"}`, 200, `"recipients":2`},
		{"ann", secret, `{"from":"ann+sensor@home.arpa","bcc":["bob"],"subject":"a\r\nBcc: eve@x.example\r\n\r\nx"}`, 200, `"recipients":1`},
		{"ann", secret, `{"from":"bob@home.arpa","to":"bob"}`, 403, "not yours"},
		{"ann", secret, `{"from":["ann","ann+x@home.arpa"],"to":"bob"}`, 422, "one address"},
		{"ann", secret, `{"to":"nobody@home.arpa"}`, 422, "nobody with this address"},
		{"ann", secret, `{"to":"a b c"}`, 422, "no mail address"},
		{"ann", secret, `{"subject":"x"}`, 422, "Whom is it for?"},
		{"ann", secret, `{"to":1}`, 400, "a string, or a list"},
		{"ann", secret, `{"to":"bob","body":"x"}`, 400, "unknown field"},
		{"ann", secret, `{"to":"bob"} {"to":"bob"}`, 400, "follows its end"},
		{"ann", secret, ``, 400, "JSON"},
		{"ann", secret, `{"to":"bob","text":"` + strings.Repeat("x", webMaxAPI) + `"}`, 413, "too big"},
	} {
		code, got, head := ask(x.name, x.password, x.body)
		if code != x.code || !strings.Contains(got, x.want) || (code == 401) != (head.Get("WWW-Authenticate") != "") {
			t.Errorf("%.80s as %s: %d %s, want %d %s", x.body, x.name, code, got, x.code, x.want)
		}
	}
	mails := s.inbox(t, "bob@home.arpa")
	if len(mails) != 3 || !strings.Contains(mails[0], "From: ann@home.arpa\r\n") || !strings.Contains(mails[0], "Subject: =?utf-8?") ||
		strings.Contains(mails[2], "\nBcc:") || !strings.Contains(mails[2], "From: ann+sensor@home.arpa\r\n") {
		t.Errorf("%d mails:\n%s", len(mails), strings.Join(mails, "\n----\n"))
	}
	s.cfg.Auth.Plaintext = nil
	if code, got, _ := ask("ann", secret, `{"to":"bob"}`); code != 403 || !strings.Contains(got, "https") {
		t.Errorf("without TLS: %d %s", code, got)
	}
}
