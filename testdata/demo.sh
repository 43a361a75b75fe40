#!/usr/bin/env bash
# Two appliances, lab1.arpa and lab2.arpa, with routes to each other on loopback ports: mail crosses, is read with other
# people's programs, waits in the queue while one of them is down, and bounces. POSTINO is the program; with
# DEMO_SMOKE=1 only the first part runs (for emulated binaries).
# withstand.sh runs it with more: DEMO_BETWEEN is a command after which everything is done again, with the same lab1; DEMO_CARD a folder
# for lab1's database, DEMO_WRAP what starts lab1, DEMO_ROUTES more of lab1's routes, DEMO_PORTS what is added to 2525 and so on.
set -euo pipefail
POSTINO=${POSTINO:-./postino}
work=$(mktemp -d)
pids=()
cleanup() {
  status=$?
  for p in "${pids[@]:-}"; do [ -n "$p" ] && kill "$p" 2>/dev/null || true; done
  wait 2>/dev/null || true
  if [ $status -ne 0 ]; then
    echo "--- FAILED; the logs:"
    tail -n 40 "$work"/lab*/log 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap cleanup EXIT
say() { printf '\n--- %s\n' "$*"; }
die() { echo "DEMO FAILED: $*" >&2; exit 1; }

# wait_for SECONDS COMMAND...: until it succeeds
wait_for() {
  local until=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $until ] || die "waited in vain for: $*"
    sleep 0.2
  done
}

# port N NUMBER: lab1 listens on 12525 and so on, lab2 on 22525
port() { echo $((${DEMO_PORTS:-10000} + ($1 - 1) * ${DEMO_APART:-10000} + $2)); }
write_config() {
  local n=$1 other=$((3 - $1)) card=. routes=
  if [ "$n" = 1 ]; then card=${DEMO_CARD:-.} routes=${DEMO_ROUTES:-}; fi
  mkdir -p "$work/lab$n"
  cat > "$work/lab$n/mail.toml" <<TOML
hostname = "mx.lab$n.arpa"
domains = ["lab$n.arpa"]
database = "$card/mail.db"
[mdns]
enabled = false
[listen]
smtp = ["127.0.0.1:$(port $n 2525)"]
submission = ["127.0.0.1:$(port $n 2587)"]
submissions = ["127.0.0.1:$(port $n 2465)"]
pop3 = ["127.0.0.1:$(port $n 2110)"]
pop3s = ["127.0.0.1:$(port $n 2995)"]
imap = ["127.0.0.1:$(port $n 2143)"]
imaps = ["127.0.0.1:$(port $n 2993)"]
http = ["127.0.0.1:$(port $n 2080)"]
[outbound]
mode = "none"
[routes]
"lab$other.arpa" = "127.0.0.1:$(port $other 2525)"
$routes
[queue]
retry = "2s"
retry_max = "4s"
TOML
}
run() { local n=$1; shift; $POSTINO -config "$work/lab$n/mail.toml" "$@"; }
start() {
  local n=$1 wrap=()
  if [ "$n" = 1 ] && [ -n "${DEMO_WRAP:-}" ]; then wrap=("$DEMO_WRAP"); fi
  "${wrap[@]}" $POSTINO -config "$work/lab$n/mail.toml" >>"$work/lab$n/out" 2>>"$work/lab$n/log" &
  pids[$n]=$!
  wait_for 30 curl -s "smtp://127.0.0.1:$(port $n 2525)" --request NOOP
}
stop() {
  kill "${pids[$1]}"; wait "${pids[$1]}" 2>/dev/null || true
  pids[$1]=
}
imap() { # imap N USER COMMAND [MAILBOX]
  curl -s -m 60 "imap://127.0.0.1:$(port $1 2143)/${4:-INBOX}" -u "$2@lab$1.arpa:secret$2" --request "$3"
}
count() { imap "$1" "$2" "STATUS ${3:-INBOX} (MESSAGES)" "" | sed -n 's/.*MESSAGES \([0-9]*\).*/\1/p'; }
has() { [ "$(count "$1" "$2" "${4:-INBOX}")" = "$3" ]; }

say "two appliances, $($POSTINO version)"
write_config 1; write_config 2

# users PREFIX: the people of one round
users() {
  local p=$1 u
  for u in ann ada $(seq -f 's%g' 1 5); do echo "secret$p$u" | run 1 user add $p$u@lab1.arpa; done
  for u in bob ben $(seq -f 'r%g' 1 5); do echo "secret$p$u" | run 2 user add $p$u@lab2.arpa; done
}

# demo PREFIX: all of it, with people whose names begin so
demo() {
local p=$1 i f n token
say "curl, plain: ${p}ann@lab1 writes to ${p}bob@lab2"
printf "From: Ann <${p}ann@lab1.arpa>\r\nTo: ${p}bob@lab2.arpa\r\nSubject: hello\r\n\r\nHello Bob.\r\n" > "$work/hello"
curl -sS "smtp://127.0.0.1:$(port 1 2587)" -u ${p}ann@lab1.arpa:secret${p}ann --mail-from ${p}ann@lab1.arpa --mail-rcpt ${p}bob@lab2.arpa -T "$work/hello"
wait_for 30 has 2 ${p}bob 1

say "swaks, STARTTLS, 8-bit Chinese text"
swaks --server 127.0.0.1:$(port 1 2587) -tls --auth-user ${p}ann@lab1.arpa --auth-password secret${p}ann --from ${p}ann@lab1.arpa --to ${p}bob@lab2.arpa \
  --header 'Subject: =?UTF-8?B?5L2g5aW9?=' --add-header 'MIME-Version: 1.0' --add-header 'Content-Type: text/plain; charset=utf-8' \
  --add-header 'Content-Transfer-Encoding: 8bit' --body '你好，鲍勃。' --hide-all || die swaks
wait_for 30 has 2 ${p}bob 2
imap 2 ${p}bob "FETCH 2 BODY[TEXT]" >/dev/null
curl -s "imap://127.0.0.1:$(port 2 2143)/INBOX;MAILINDEX=2" -u ${p}bob@lab2.arpa:secret${p}bob | grep -q '你好，鲍勃。' || die "the Chinese text is not there"
imap 2 ${p}bob "SEARCH CHARSET UTF-8 SUBJECT 你好" | grep -q 'SEARCH 2' || die "the Chinese subject is not found"
if [ -n "${DEMO_SMOKE:-}" ]; then say "smoke passed"; return; fi

say "TLS from the start, a 10 MB attachment"
head -c 10000000 /dev/urandom > "$work/file.bin"
swaks --server 127.0.0.1:$(port 1 2465) --tls-on-connect --auth-user ${p}ann@lab1.arpa --auth-password secret${p}ann --from ${p}ann@lab1.arpa --to ${p}bob@lab2.arpa \
  --header 'Subject: a big file' --attach "@$work/file.bin" --hide-all || die swaks
wait_for 60 has 2 ${p}bob 3
curl -s "imaps://127.0.0.1:$(port 2 2993)/INBOX;MAILINDEX=3;SECTION=2" -k -u ${p}bob@lab2.arpa:secret${p}bob | base64 -d -i > "$work/file.back"
cmp "$work/file.bin" "$work/file.back" || die "the attachment came back changed"

say "ten recipients over both, in one message"
curl -sS "smtp://127.0.0.1:$(port 1 2587)" -u ${p}ann@lab1.arpa:secret${p}ann --mail-from ${p}ann@lab1.arpa -T "$work/hello" \
  $(for i in 1 2 3 4 5; do echo "--mail-rcpt ${p}r$i@lab2.arpa --mail-rcpt ${p}s$i@lab1.arpa"; done)
for i in 1 2 3 4 5; do wait_for 30 has 2 ${p}r$i 1; wait_for 30 has 1 ${p}s$i 1; done

say "mpop fetches bob's mail by POP3 and keeps it, then deletes it"
mpop_get() {
  mpop --host=127.0.0.1 --port=$(port 2 2110) --tls=off --auth=user --user=${p}bob@lab2.arpa --passwordeval="echo secret${p}bob" \
    --keep="$1" --only-new=off --uidls-file="$work/${p}uidls" --delivery="mbox,$work/$p$2" --received-header=off >/dev/null
}
mpop_get on kept; mpop_get off fetched
for f in kept fetched; do
  [ "$(grep -c '^From ' "$work/$p$f")" = 3 ] || die "$f: not three messages"
done
wait_for 10 has 2 ${p}bob 0

say "neomutt answers from r1's mailbox by IMAP and SMTP"
cat > "$work/muttrc" <<MUTT
set folder = "imap://${p}r1%40lab2.arpa@127.0.0.1:$(port 2 2143)/"
set imap_pass = "secret${p}r1"
set spoolfile = "+INBOX"
set record = "+Sent"
set ssl_starttls = no
set ssl_force_tls = no
set smtp_url = "smtp://${p}r1%40lab2.arpa@127.0.0.1:$(port 2 2587)/"
set smtp_pass = "secret${p}r1"
set from = "${p}r1@lab2.arpa"
set realname = "R One"
set header_cache = ""
set copy = yes
MUTT
echo 'Got it, thank you.' | HOME=$work neomutt -n -F "$work/muttrc" -s 'Re: hello' -- ${p}ann@lab1.arpa </dev/stdin || die neomutt
wait_for 30 has 1 ${p}ann 1

rm -f "$work/read"
say "neomutt reads r1's mailbox by IMAP, and moves the message to Archive"
cat >> "$work/muttrc" <<MUTT
set wait_key = no
set confirmappend = no
set confirmcreate = no
set delete = yes
set quit = yes
set pipe_decode = yes
push "<pipe-message>cat > $work/read<enter><save-message>=Archive<enter><sync-mailbox><quit>"
MUTT
HOME=$work TERM=xterm timeout 60 script -qec "neomutt -n -F $work/muttrc" /dev/null </dev/null >"$work/screen" 2>&1 || true
grep -q 'Hello Bob' "$work/read" || { cat "$work/screen"; die "neomutt did not read the message"; }
wait_for 10 has 2 ${p}r1 1 Archive
has 2 ${p}r1 0 || die "the message is still in INBOX"

say "lab2 is stopped; what is sent waits in lab1's queue"
stop 2
for i in $(seq 1 20); do
  curl -sS "smtp://127.0.0.1:$(port 1 2587)" -u ${p}ann@lab1.arpa:secret${p}ann --mail-from ${p}ann@lab1.arpa --mail-rcpt ${p}ben@lab2.arpa -T "$work/hello"
done
sleep 1
run 1 queue list
[ "$(run 1 -json queue list | grep -c '"id"')" = 20 ] || die "the queue does not hold 20 messages"

say "lab2 is back; all twenty cross over one connection"
start 2
wait_for 60 has 2 ${p}ben 20
run 1 queue list
grep "rcpt=${p}ben@lab2.arpa" "$work/lab2/log" | sed -n 's/.* conn=\([0-9]*\).*/\1/p' | sort | uniq -c | tee "$work/conns"
[ "$(wc -l < "$work/conns")" = 1 ] || die "more than one connection"

say "an unknown user comes back to the sender"
n=$(count 1 ${p}ann)
curl -sS "smtp://127.0.0.1:$(port 1 2587)" -u ${p}ann@lab1.arpa:secret${p}ann --mail-from ${p}ann@lab1.arpa --mail-rcpt nobody@lab2.arpa -T "$work/hello"
wait_for 30 has 1 ${p}ann $((n + 1))
curl -s "imap://127.0.0.1:$(port 1 2143)/INBOX;MAILINDEX=$((n + 1))" -u ${p}ann@lab1.arpa:secret${p}ann > "$work/report"
grep -q 'multipart/report' "$work/report" && grep -qi 'nobody@lab2.arpa' "$work/report" && grep -q '550' "$work/report" || die "no report"
sed -n '1,40p' "$work/report"

say "ann reads the answer by POP3, and lists her mail on the pages"
curl -sS "pop3://127.0.0.1:$(port 1 2110)/1" -u ${p}ann@lab1.arpa:secret${p}ann -o "$work/answer"
grep -q 'Got it' "$work/answer" || die "POP3 does not show the answer"
web() { curl -sS -m 60 -b "$work/${p}cookies" -c "$work/${p}cookies" "http://127.0.0.1:$(port 1 2080)$1" "${@:2}"; }
web_token() { web "$1" -o "$work/page"; sed -n '/name="csrf"/{s/.*name="csrf" value="\([^"]*\)".*/\1/p;q}' "$work/page"; }
token=$(web_token /login)
web /login -o /dev/null --data-urlencode "csrf=$token" -d name=${p}ann -d password=secret${p}ann
web /mail -L -o "$work/page"
grep -q 'Re: hello' "$work/page" || die "web mail does not list the answer"
token=$(web_token /compose)
web /compose -o /dev/null --data-urlencode "csrf=$token" -d do=send -d to=${p}ada@lab1.arpa -d subject=letter -d text=Hello
wait_for 60 has 1 ${p}ada 1
}

users ""
start 1; start 2
cat "$work/lab1/out"
demo ""
if [ -n "${DEMO_BETWEEN:-}" ]; then
  pid=${pids[1]}
  CONFIG="$work/lab1/mail.toml" PID=$pid $DEMO_BETWEEN
  say "everything again, with the same appliance"
  users again
  demo again
  kill -0 "$pid" || die "lab1 did not live through it"
fi
say "the demo passed"
