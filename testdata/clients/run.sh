#!/usr/bin/env bash
# Other people's clients against a running appliance: Thunderbird, Delta Chat's core, isync, offlineimap, fetchmail, msmtp, sieve-connect, curl,
# aerc, Python's own, imapflow and nodemailer. POSTINO is the program. A client that is not installed is skipped, and that is
# said; those from npm are installed by `npm ci --prefix testdata/clients`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
POSTINO=${POSTINO:-./postino}
p=${CLIENTS_PORTS:-24} # its ports are ${p}143 and so on
work=$(mktemp -d)
pid=
cleanup() {
  status=$?
  [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
  wait 2>/dev/null || true
  [ $status -eq 0 ] || tail -n 60 "$work/log"
  rm -rf "$work"
}
trap cleanup EXIT
die() { echo "CLIENTS FAILED: $*" >&2; exit 1; }
say() { printf '\n--- %s\n' "$*"; }
from_npm() { [ -e "$here/node_modules/$1" ] || { echo "SKIPPED: $1 is not installed: npm ci --prefix testdata/clients"; return 1; }; }
have() { command -v "$1" >/dev/null || { echo "SKIPPED: $1 is not installed"; return 1; }; }

cat > "$work/mail.toml" <<TOML
hostname = "localhost"
[mdns]
enabled = false
[listen]
smtp = ["127.0.0.1:${p}525"]
submission = ["127.0.0.1:${p}587"]
submissions = ["localhost:${p}465"] # by its name it is told to programs that configure themselves; a loopback address is not
pop3 = ["127.0.0.1:${p}110"]
sieve = ["127.0.0.1:${p}190"]
imap = ["127.0.0.1:${p}143"]
imaps = ["localhost:${p}993"]
http = ["127.0.0.1:${p}080"]
[limits]
per_address = 100
TOML
for u in ann bob cora dora eve fay hal ida jo kim lea mia; do echo secret | $POSTINO -config "$work/mail.toml" user add $u@home.arpa >/dev/null; done
$POSTINO -config "$work/mail.toml" > "$work/out" 2> "$work/log" &
pid=$!
until grep -q "${p}080" "$work/out"; do # it says where it listens
  kill -0 "$pid" 2>/dev/null || die "the appliance did not start"
  sleep 0.1
done

say "Python's imaplib, smtplib, poplib"
have python3 && python3 "$here/imaplib_client.py" 127.0.0.1 ${p}143 ${p}587 ${p}110

say "imapflow, nodemailer"
if have node && from_npm imapflow; then node "$here/imapflow.js" 127.0.0.1 ${p}993 ${p}587; fi

say "Delta Chat's core: sets itself up, waits in IDLE, contact requests, encryption, receipts, reactions, files, groups, deleting"
deltachat=@deltachat/stdio-rpc-server-linux-$(uname -m | sed 's/x86_64/x64/; s/aarch64/arm64/')
if have python3 && from_npm $deltachat; then
  python3 "$here/deltachat.py" "$here/node_modules/$deltachat/deltachat-rpc-server" localhost ${p}993 ${p}465 ${p}587 ${p}110 "$work/log"
fi

say "isync: 500 messages, both ways, and a second run changes nothing"
if have mbsync; then
  mkdir -p "$work/maildir/INBOX"/{cur,new,tmp}
  for i in $(seq 500); do
    printf 'From: x@home.arpa\nTo: ann@home.arpa\nSubject: message %d\nMessage-ID: <%d@isync>\n\nBody %d\n' "$i" "$i" "$i" > "$work/maildir/INBOX/new/$i.x"
  done
  cat > "$work/mbsyncrc" <<RC
IMAPAccount a
Host 127.0.0.1
Port ${p}143
User ann@home.arpa
Pass secret
SSLType None
AuthMechs LOGIN

IMAPStore far
Account a

MaildirStore near
Path $work/maildir/
Inbox $work/maildir/INBOX
SubFolders Verbatim

Channel c
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
RC
  mbsync -c "$work/mbsyncrc" -q -a
  n=$(curl -s "imap://127.0.0.1:${p}143/" -u ann@home.arpa:secret -X 'STATUS INBOX (MESSAGES UIDNEXT)')
  echo "$n" | grep -q 'MESSAGES 500 ' || echo "$n" | grep -q 'MESSAGES 500' || die "isync pushed: $n"
  curl -s "imap://127.0.0.1:${p}143/INBOX" -u ann@home.arpa:secret -X 'STORE 1:100 +FLAGS (\Seen \Flagged)' >/dev/null
  curl -s "imap://127.0.0.1:${p}143/INBOX" -u ann@home.arpa:secret -X 'UID STORE 500 +FLAGS (\Deleted)' >/dev/null
  mbsync -c "$work/mbsyncrc" -q -a
  [ "$(ls "$work/maildir/INBOX/cur" | grep -c ',.*F.*S')" = 100 ] || die "isync did not pull the flags"
  [ "$(ls "$work/maildir/INBOX/cur" "$work/maildir/INBOX/new" | grep -c '\.x\|:2')" -ge 499 ] || die "isync lost messages"
  find "$work/maildir" -type f | grep -v mbsyncstate | sort > "$work/before"
  before=$(curl -s "imap://127.0.0.1:${p}143/" -u ann@home.arpa:secret -X 'STATUS INBOX (MESSAGES UIDNEXT HIGHESTMODSEQ)')
  mbsync -c "$work/mbsyncrc" -q -a
  find "$work/maildir" -type f | grep -v mbsyncstate | sort | cmp - "$work/before" || die "isync's second run changed files"
  after=$(curl -s "imap://127.0.0.1:${p}143/" -u ann@home.arpa:secret -X 'STATUS INBOX (MESSAGES UIDNEXT HIGHESTMODSEQ)')
  [ "$before" = "$after" ] || die "isync's second run changed the server: $before $after"
  echo "isync: fine"
fi

say "sieve-connect checks, stores, activates, lists, fetches and deletes scripts"
if have sieve-connect; then
  echo secret > "$work/sievepass"
  printf 'require "fileinto";\nif header :contains "subject" "sieve" { fileinto "Archive"; }\n' > "$work/a.sieve"
  printf 'keep;\nbogus;\n' > "$work/bad.sieve"
  managesieve() { sieve-connect -s 127.0.0.1 -p ${p}190 -u mia@home.arpa --nosslverify --passwordfd 3 "$@" 3< "$work/sievepass"; }
  managesieve --localsieve "$work/bad.sieve" --remotesieve bad --checkscript > "$work/checked" 2>&1 && die "sieve-connect: a bad script is fine"
  grep -q 'line 2, column 1' "$work/checked" || die "sieve-connect: a bad script"
  managesieve --localsieve "$work/a.sieve" --remotesieve main --upload
  managesieve --remotesieve main --activate
  managesieve --list > "$work/listed"
  grep -q '"main" ACTIVE' "$work/listed" || die "sieve-connect: the list"
  managesieve --localsieve "$work/b.sieve" --remotesieve main --download
  cmp "$work/a.sieve" "$work/b.sieve" || die "sieve-connect: another script came back"
  printf 'Subject: sieve\r\n\r\nx\r\n' | curl -sS --mail-from x@lab.example --mail-rcpt mia@home.arpa -T - smtp://127.0.0.1:${p}525
  curl -sS -u mia@home.arpa:secret "imap://127.0.0.1:${p}143/Archive;UID=1" | grep -q 'Subject: sieve' || die "sieve-connect: the script filed nothing"
  managesieve --deactivate
  managesieve --remotesieve main --delete
  echo "sieve-connect: fine"
fi

say "msmtp sends, fetchmail fetches"
if have msmtp && have fetchmail; then
  for i in 1 2 3; do
    printf 'From: bob@home.arpa\nTo: eve@home.arpa\nSubject: %d\n\nhello\n' $i | msmtp --host=127.0.0.1 --port=${p}465 --tls=on --tls-starttls=off --tls-certcheck=off \
      --auth=scram-sha-256 --user=bob@home.arpa --passwordeval='echo secret' --from=bob@home.arpa eve@home.arpa ||
    printf 'From: bob@home.arpa\nTo: eve@home.arpa\nSubject: %d\n\nhello\n' $i | msmtp --host=127.0.0.1 --port=${p}465 --tls=on --tls-starttls=off --tls-certcheck=off \
      --auth=plain --user=bob@home.arpa --passwordeval='echo secret' --from=bob@home.arpa eve@home.arpa
  done
  for proto in POP3 IMAP; do
    port=${p}110; [ $proto = IMAP ] && port=${p}143
    cat > "$work/fetchmailrc" <<RC
set idfile "$work/fetchids-$proto"
poll 127.0.0.1 protocol $proto port $port username "eve@home.arpa" password "secret" sslproto "" keep fetchall mda "cat >> $work/fetched-$proto; echo >> $work/fetched-$proto"
RC
    chmod 600 "$work/fetchmailrc"
    HOME=$work fetchmail -f "$work/fetchmailrc" --pidfile "$work/fetchmail.pid" >/dev/null || true
    [ "$(grep -c '^Subject: [123]' "$work/fetched-$proto")" = 3 ] || die "fetchmail $proto"
  done
  echo "msmtp and fetchmail: fine"
fi

say "offlineimap, with UTF-8 folder names"
if have offlineimap; then
  curl -s "imap://127.0.0.1:${p}143/" -u eve@home.arpa:secret -X 'CREATE "Bl&APY-de"' >/dev/null
  cat > "$work/offlineimaprc" <<RC
[general]
accounts = a
ui = quiet
metadata = $work/offlineimap
[Account a]
localrepository = l
remoterepository = r
[Repository l]
type = Maildir
localfolders = $work/offline
[Repository r]
type = IMAP
remotehost = 127.0.0.1
remoteport = ${p}143
ssl = no
starttls = no
remoteuser = eve@home.arpa
remotepass = secret
auth_mechanisms = LOGIN
RC
  HOME=$work timeout 120 offlineimap -o -c "$work/offlineimaprc" || die offlineimap
  [ "$(find "$work/offline/INBOX" -type f | wc -l)" = 3 ] || die "offlineimap fetched $(find "$work/offline/INBOX" -type f | wc -l)"
  ls "$work/offline" | grep -q 'Bl' || die "offlineimap misses a folder"
  HOME=$work timeout 120 offlineimap -o -c "$work/offlineimaprc" || die "offlineimap, second run"
  [ "$(find "$work/offline/INBOX" -type f | wc -l)" = 3 ] || die "offlineimap's second run"
  echo "offlineimap: fine"
fi

say "aerc opens the mailbox"
if have aerc && have script; then
  mkdir -p "$work/.config/aerc"
  cat > "$work/.config/aerc/accounts.conf" <<RC
[a]
source = imap+insecure://eve%40home.arpa:secret@127.0.0.1:${p}143
default = INBOX
from = Eve <eve@home.arpa>
RC
  chmod 600 "$work/.config/aerc/accounts.conf"
  : > "$work/screen"
  look() { # until it shows the list, then its command to leave
    for _ in $(seq 600); do grep -qa 'bob@home.arpa' "$work/screen" && break; sleep 0.1; done
    printf ':quit\r'; sleep 1
  }
  look | HOME=$work TERM=xterm-256color timeout 90 script -qfec "stty rows 40 cols 120; aerc" /dev/null > "$work/screen" 2>&1 || true
  grep -qa 'bob@home.arpa' "$work/screen" && echo "aerc: fine" || { tail -c 2000 "$work/screen" | cat -v; die aerc; }
fi

say "Thunderbird: configures itself, reads, tags, moves, deletes, searches, writes, answers, forwards, waits for mail, and takes it by POP3"
if have thunderbird && have python3; then python3 "$here/thunderbird.py" 127.0.0.1 ${p}143 ${p}587 ${p}110 ${p}080; fi

say "all clients are fine"
