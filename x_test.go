package main
import ("testing";"os";"path/filepath";"fmt";"io";"crypto/md5";"bytes";"strings")
func TestX(t *testing.T){
 files,_:=filepath.Glob("/tmp/diff/*.msg")
 for _,f:=range files { b,_:=os.ReadFile(f); p:=parseMIME(b); r:=bytes.NewReader(b)
  var o strings.Builder
  var walk func(p *Part); walk=func(p *Part){
    fmt.Fprintf(&o,"%s/%s|%s|", p.Type,p.Subtype, p.Filename())
    if len(p.Parts)==0 { d,_:=io.ReadAll(p.Decoded(r)); fmt.Fprintf(&o,"%x", md5.Sum(bytes.TrimRight(d,"\r\n"))) }
    o.WriteString("\n"); for _,c:=range p.Parts {walk(c)} }
  walk(p)
  h:=ParseHeader(b); fmt.Fprintf(&o,"S|%s\n", h.Text("Subject"))
  for _,n:=range []string{"From","To","Cc"} { for _,a:=range ParseAddressList(strings.Join(h.All(n),", ")) { if a.Domain!="" {fmt.Fprintf(&o,"%s|%s|%s@%s\n",n,a.DisplayName(),a.Local,a.Domain)}}}
  os.WriteFile(strings.TrimSuffix(f,".msg")+".go",[]byte(o.String()),0644)
  var c bytes.Buffer
  if err:=To7Bit(&c,p,r); err!=nil { fmt.Println(f,err); os.Remove(strings.TrimSuffix(f,".msg")+".7bit") } else {os.WriteFile(strings.TrimSuffix(f,".msg")+".7bit",c.Bytes(),0644)}
 }}
