// SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677).
package main

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
)

// scramFirst takes the client-first-message (RFC 5802 §7: gs2-header "n=" name ",r=" nonce) and answers with
// salt and iterations, which an unknown name gets too.
func (x *saslExchange) scramFirst(response []byte) ([]byte, bool, error) {
	if err := x.a.store.Unreadable(); err != nil {
		return nil, false, err
	}
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
	var err error
	x.user, x.known, err = x.a.user(name, false)
	if err != nil {
		return nil, false, err
	}
	x.secret, err = parseSecret(x.user.Secret)
	if err != nil {
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
// when we did announce it, somebody in the middle has taken it out of the list.
func (x *saslExchange) scramBinding(flag string) error {
	switch {
	case x.plus && flag == "p=tls-exporter", !x.plus && flag == "n", !x.plus && flag == "y" && (x.from.binding == nil || x.from.shy):
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
	t := x.a.newTry(loginOrigin{addr: x.from.addr}, x.name, true)
	over := x.a.over(t) > 0
	if over {
		done, err := x.a.slowly(t)
		if err != nil {
			return nil, false, err
		}
		defer done()
	}
	if !match || !bound || !x.known {
		x.a.failed(t, 0)
		if over {
			return nil, false, authError(x.name, ErrAuthRate)
		}
		return nil, false, authError(x.name, ErrAuth)
	}
	x.a.beenHere(t.origin, x.user.Name)
	x.next = func([]byte) ([]byte, bool, error) { return nil, true, nil } // the client has nothing left to say
	return []byte("v=" + base64.StdEncoding.EncodeToString(hmacSHA256(x.secret.serverKey, message))), false, nil
}
