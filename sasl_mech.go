// SASL mechanisms: one exchange for all of them and for all protocols.
package main

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
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
	login   bool   // the protocol has the mechanism LOGIN too, which is only SMTP's habit
}

// Mechanisms lists what a connection may use, in the order in which it is announced.
func (from loginFrom) Mechanisms() (list []string) {
	if from.binding != nil {
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

// Login runs a whole authentication exchange (RFC 4422): mech and initial are as the client sent them, initial "" is no
// initial response and "=" an empty one (RFC 4954 §4). ask sends a challenge, which is base64 already and may be "", and
// reads the client's next line; its errors end the exchange and are returned. The other errors are those above
// and the store's. A cancelling "*" and bad base64 are understood here.
func (a *Auth) Login(from loginFrom, mech, initial string, ask func(challenge string) (line string, err error)) (User, error) {
	x, challenge, err := a.begin(from, mech)
	line, have := initial, initial != ""
	for done := false; !done && err == nil; have = false {
		if !have {
			if line, err = ask(base64.StdEncoding.EncodeToString(challenge)); err != nil {
				return User{}, err
			}
		}
		var response []byte
		if response, err = saslDecode(line); err == nil {
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

// saslExchange is one exchange under way. next takes the client's response and returns the next challenge, or that the
// user is known.
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
func (a *Auth) begin(from loginFrom, mech string) (x *saslExchange, challenge []byte, err error) {
	x = &saslExchange{a: a, from: from}
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
func (x *saslExchange) password(authzid, name, password string) (_ []byte, done bool, err error) {
	if !x.a.sameName(authzid, name) {
		password = ""
	}
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

// scramFirst takes the client-first-message (RFC 5802 §7: gs2-header "n=" name ",r=" nonce) and answers with
// salt and iterations, which an unknown name gets too.
func (x *saslExchange) scramFirst(response []byte) ([]byte, bool, error) {
	flag, rest, ok1 := strings.Cut(string(response), ",")
	authzid, bare, ok2 := strings.Cut(rest, ",")
	f := strings.Split(bare, ",")
	if !ok1 || !ok2 || len(f) < 2 || !strings.HasPrefix(f[0], "n=") || !strings.HasPrefix(f[1], "r=") || len(f[1]) == 2 {
		return nil, false, fmt.Errorf("%w: not a first message of SCRAM", ErrAuthSyntax)
	}
	if err := x.scramBinding(flag); err != nil {
		return nil, false, err
	}
	name, ok := scramName(f[0][2:])
	if authzid != "" {
		z, okz := scramName(strings.TrimPrefix(authzid, "a="))
		ok = ok && okz && strings.HasPrefix(authzid, "a=")
		if ok && !x.a.sameName(z, name) {
			return nil, false, authError(name, ErrAuth)
		}
	}
	if !ok {
		return nil, false, fmt.Errorf("%w: bad name", ErrAuthSyntax)
	}
	if !x.a.mayTry(loginNetwork(x.from.addr), name) {
		x.a.pause(rateDelay)
		return nil, false, authError(name, ErrAuthRate)
	}
	var err error
	if x.user, x.known, err = x.a.user(name, false); err != nil {
		return nil, false, err
	}
	if x.secret, err = parseSecret(x.user.Secret); err != nil {
		return nil, false, fmt.Errorf("secret of user %d: %w", x.user.ID, err)
	}
	if x.serverNonce == "" {
		x.serverNonce = rand.Text()
	}
	x.name, x.nonce, x.gs2 = name, f[1][2:]+x.serverNonce, flag+","+authzid+","
	challenge := fmt.Sprintf("r=%s,s=%s,i=%d", x.nonce, base64.StdEncoding.EncodeToString(x.secret.salt), x.secret.iterations)
	x.first, x.next = bare+","+challenge, x.scramFinal
	return []byte(challenge), false, nil
}

// scramBinding checks the gs2-cbind-flag (RFC 5802 §6). "y" says that the client would bind but that we did not offer it;
// when we did, somebody in the middle has taken it out of the list.
func (x *saslExchange) scramBinding(flag string) error {
	switch {
	case x.plus && flag == "p=tls-exporter", !x.plus && flag == "n", !x.plus && flag == "y" && x.from.binding == nil:
		return nil
	case x.plus && strings.HasPrefix(flag, "p="):
		return fmt.Errorf("%w: the only channel binding here is tls-exporter", ErrAuthSyntax)
	}
	return fmt.Errorf("%w: channel binding does not fit the mechanism", ErrAuthSyntax)
}

// scramName decodes a saslname (RFC 5802 §5.1).
func scramName(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case strings.HasPrefix(s[i:], "=2C"):
			b.WriteByte(',')
			i += 2
		case strings.HasPrefix(s[i:], "=3D"):
			b.WriteByte('=')
			i += 2
		case s[i] == '=' || s[i] == 0:
			return "", false
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), s != ""
}

// scramFinal takes the client-final-message ("c=" binding ",r=" nonce ",p=" proof) and answers with our own proof.
func (x *saslExchange) scramFinal(response []byte) ([]byte, bool, error) {
	network := loginNetwork(x.from.addr)
	bare, proof, ok := strings.Cut(string(response), ",p=")
	f := strings.Split(bare, ",")
	got, err := base64.StdEncoding.DecodeString(proof)
	if !ok || err != nil || len(got) != sha256.Size || len(f) < 2 || !strings.HasPrefix(f[0], "c=") || f[1] != "r="+x.nonce {
		return nil, false, fmt.Errorf("%w: not a final message of SCRAM", ErrAuthSyntax)
	}
	binding := x.gs2
	if x.plus {
		binding += string(x.from.binding)
	}
	bound := f[0] == "c="+base64.StdEncoding.EncodeToString([]byte(binding))
	message := x.first + "," + bare
	key := hmacSHA256(x.secret.stored, message) // ClientSignature; with the proof it gives the ClientKey
	subtle.XORBytes(key, key, got)
	stored := sha256.Sum256(key)
	match := subtle.ConstantTimeCompare(stored[:], x.secret.stored) == 1
	if !x.a.mayTry(network, x.name) {
		x.a.pause(rateDelay)
		return nil, false, authError(x.name, ErrAuthRate)
	}
	if !match || !bound || !x.known {
		x.a.failed(network, x.name, 0)
		return nil, false, authError(x.name, ErrAuth)
	}
	x.next = func([]byte) ([]byte, bool, error) { return nil, true, nil } // the client has nothing left to say
	return []byte("v=" + base64.StdEncoding.EncodeToString(hmacSHA256(x.secret.serverKey, message))), false, nil
}
