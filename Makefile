# `go run .` and `go test ./...` need none of this.
# HTTP/2 is left out, which a LAN has no use for: 0.3 MB less on the card.
FLAGS = -tags nethttpomithttp2 -trimpath -ldflags='-s -w'
# What is not computed with for each message is compiled without inlining: 1.1 MB less. SQLite, zstd, the ciphers, curves and sums, and
# our own code are not among it.
COLD = golang.org/... github.com/BurntSushi/... github.com/microcosm-cc/... github.com/aymerick/... vendor/... \
	net net/... text/... html/... log/... mime/... regexp/... image/... encoding/json encoding/xml encoding/asn1 encoding/pem archive/zip \
	database/sql/... fmt flag os/... path/... time reflect context strconv internal/strconv internal/poll compress/flate math/big \
	crypto/tls/... crypto/x509/... crypto/hpke crypto/rsa crypto/ecdsa go/... modernc.org/libc/... \
	modernc.org/sqlite modernc.org/memory modernc.org/mathutil github.com/klauspost/compress github.com/dustin/... github.com/google/... \
	github.com/mattn/... github.com/ncruces/... github.com/remyoudompheng/... io io/fs embed bufio encoding encoding/csv encoding/hex encoding/base32 \
	database/sql/driver syscall unique errors slices sort maps iter container/... hash hash/adler32 hash/fnv hash/maphash hash/crc32 unicode unicode/utf16 \
	math/rand math/rand/v2 internal/godebug internal/nettrace internal/singleflight internal/bisect internal/fmtsort internal/saferio \
	internal/lazyregexp internal/reflectlite internal/oserror internal/testlog internal/syscall/... \
	crypto crypto/cipher crypto/des crypto/rc4 crypto/dsa crypto/md5 crypto/sha3 crypto/ecdh crypto/ed25519 crypto/elliptic crypto/hkdf crypto/rand \
	crypto/subtle crypto/internal/impl crypto/internal/sysrand crypto/internal/entropy/... crypto/internal/boring/... crypto/internal/fips140 \
	crypto/internal/fips140hash crypto/internal/fips140only crypto/internal/fips140cache crypto/internal/fips140deps/... crypto/internal/fips140/sha3 \
	crypto/internal/fips140/mlkem crypto/internal/fips140/rsa crypto/internal/fips140/drbg crypto/internal/fips140/ecdsa crypto/internal/fips140/ecdh \
	crypto/internal/fips140/tls12 crypto/internal/fips140/tls13 crypto/internal/fips140/ed25519 crypto/internal/fips140/hkdf \
	crypto/internal/fips140/hmac crypto/internal/fips140/check strings
FLAGS += $(COLD:%='-gcflags=%=-l')

build:
	CGO_ENABLED=0 go build $(FLAGS) -o postino .

arm: # Raspberry Pi 1, Zero and everything newer
	CGO_ENABLED=0 GOARCH=arm GOARM=6 go build $(FLAGS) -o postino-arm .

demo: build # two appliances that send each other mail, read with other people's programs
	POSTINO=$(CURDIR)/postino bash testdata/demo.sh

clients: build # Thunderbird, Delta Chat's core, isync, offlineimap, fetchmail, msmtp, sieve-connect, aerc, imaplib, imapflow and nodemailer against a running appliance
	POSTINO=$(CURDIR)/postino bash testdata/clients/run.sh

check:
	bash .ci/run

bench:
	go test -run '^$$' -bench . -benchtime 2s .

GROW = 10000,100000,1000000,20GB
grow: build # figures while a file grows, drawn in testdata/growth.svg; half an hour, and 22 GB in GROWDIR
	POSTINO=$(CURDIR)/postino go test -v -timeout 3h -run '^TestGrowth$$' . -args -grow $(GROW) -growdir "$(GROWDIR)"

wear: # the pages that a delivery, a flag, an expunge and the index write, by table
	go test -v -run '^TestWear$$' .

fuzz: # each target for a minute
	for f in $$(go test -list '^Fuzz' . | grep ^Fuzz); do go test -run '^$$' -fuzz "^$$f$$" -fuzztime 60s . || exit 1; done

soak: # ten minutes of mixed load with a kill each twenty seconds and a backup a minute
	go test -v -timeout 30m -run '^TestSoak$$' . -args -soak 10m

withstand: build # the demo, attacks of all kinds, and the demo again: in 64 MiB of memory, on a card of 64 MB, without a restart; needs root
	POSTINO=$(CURDIR)/postino bash testdata/withstand.sh

faults: # errors from the disk, a full card, read-only and damaged files, a memory group of 64 MiB, power cuts
	go test -v -timeout 30m -run 'InjectedErrors|MemoryGroup|FullCard|DiskFull|ReadOnly|Damaged|Rescue|Restore|OwnLog|PowerCut|Crash|QueueFault' . -args -soak 2m

CUTS = 10000
powercuts: # so many power cuts, replayed from what a loaded appliance wrote and flushed; and with a disk that lies
	nice go test -v -timeout 3h -run '^TestPowerCuts$$' . -args -cuts $(CUTS)

clean:
	rm -f postino postino-arm

.PHONY: build arm demo clients check bench grow wear fuzz soak withstand faults powercuts clean
