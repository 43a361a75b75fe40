# `go run .` and `go test ./...` need none of this.
# What is on no hot path is not inlined, and HTTP/2 is left out, which a LAN has no use for: 1.3 MB less on the card.
COLD = net net/... html/... text/... encoding/... crypto/tls/... crypto/x509/... database/... log/... regexp/... mime/... archive/... \
	image/... time fmt reflect os/... github.com/... golang.org/x/net/... vendor/... crypto/internal/hpke internal/... \
	context io/... math/big crypto/ecdsa crypto/rsa crypto/internal/fips140/ecdsa crypto/internal/fips140/rsa crypto/internal/fips140/drbg
FLAGS = -tags nethttpomithttp2 -trimpath -ldflags='-s -w' $(foreach p,$(COLD),-gcflags=$(p)=-l)

build:
	CGO_ENABLED=0 go build $(FLAGS) -o postino .

arm: # Raspberry Pi 1, Zero and everything newer
	CGO_ENABLED=0 GOARCH=arm GOARM=6 go build $(FLAGS) -o postino-arm .

demo: build # two appliances that send each other mail, read with other people's programs
	POSTINO=$(CURDIR)/postino bash testdata/demo.sh

clients: build # Thunderbird, isync, offlineimap, fetchmail, msmtp, aerc, imaplib, imapflow and nodemailer against a running appliance
	POSTINO=$(CURDIR)/postino bash testdata/clients/run.sh

check:
	bash .ci/run

bench:
	go test -run '^$$' -bench . -benchtime 2s .

fuzz: # each target for a minute
	for f in $$(go test -list '^Fuzz' . | grep ^Fuzz); do go test -run '^$$' -fuzz "^$$f$$" -fuzztime 60s . || exit 1; done

clean:
	rm -f postino postino-arm

.PHONY: build arm demo clients check bench fuzz clean
