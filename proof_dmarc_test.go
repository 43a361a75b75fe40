package main

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// dmarcReportExample is the report of RFC 9990, appendix B, with a record more.
const dmarcReportExample = `<feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0">
  <version>1.0</version>
  <report_metadata>
    <org_name>Sample Reporter</org_name>
    <email>report_sender@example-reporter.com</email>
    <extra_contact_info>...</extra_contact_info>
    <report_id>3v98abbp8ya9n3va8yr8oa3ya</report_id>
    <date_range><begin>1780272000</begin><end>1780358399</end></date_range>
    <generator>Example DMARC Aggregate Reporter v1.2</generator>
  </report_metadata>
  <policy_published>
    <domain>example.com</domain><p>quarantine</p><sp>none</sp><np>none</np><testing>n</testing><discovery_method>treewalk</discovery_method>
  </policy_published>
  <record>
    <row>
      <source_ip>192.0.2.123</source_ip><count>123</count>
      <policy_evaluated><disposition>pass</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated>
    </row>
    <identifiers><envelope_from>example.com</envelope_from><header_from>example.com</header_from></identifiers>
    <auth_results>
      <dkim><domain>example.com</domain><result>pass</result><selector>abc123</selector></dkim>
      <spf><domain>example.com</domain><result>fail</result></spf>
    </auth_results>
  </record>
  <record>
    <row>
      <source_ip>2001:db8::1</source_ip><count>4</count>
      <policy_evaluated><disposition>none</disposition><dkim>fail</dkim><spf>fail</spf><reason><type>mailing_list</type></reason></policy_evaluated>
    </row>
    <identifiers><envelope_from>list.example</envelope_from><header_from>example.com</header_from></identifiers>
    <auth_results/>
  </record>
</feedback>
`

func zipped(t testing.TB, name, text string) string {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	f, err := z.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	f.Write([]byte(text))
	z.Close()
	return b.String()
}

// Reports are read as they come, plain, by gzip or by zip, with RFC 7489's root or RFC 9990's; what can't be one is none.
func TestDMARCReport(t *testing.T) {
	own := func(d string) bool { return d == "example.com" }
	old := "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n" + strings.Replace(dmarcReportExample, ` xmlns="urn:ietf:params:xml:ns:dmarc-2.0"`, "", 1)
	for _, text := range []string{dmarcReportExample, gzipped(dmarcReportExample), zipped(t, "a!b!1!2.xml", dmarcReportExample), old} {
		all, err := readDMARCReport(strings.NewReader(text), own)
		if err != nil || len(all) != 1 {
			t.Fatalf("%v, %+v", err, all)
		}
		r := all[0]
		if r.Domain != "example.com" || r.Good != 123 || r.Bad != 4 || r.Ref != "3v98abbp8ya9n3va8yr8oa3ya" || r.Until.Unix() != 1780358399 {
			t.Errorf("%+v", r)
		}
		if got, want := fmt.Sprint(r.Rows), "[{192.0.2.123 123 true DKIM pass, SPF fail, pass, example.com} {2001:db8::1 4 false DKIM fail, SPF fail, none, mailing_list, example.com (list.example)}]"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	if all, err := readDMARCReport(strings.NewReader(dmarcReportExample), func(string) bool { return false }); err != nil || all != nil {
		t.Errorf("of nobody here: %v %+v", err, all)
	}
	bomb := "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]>" + strings.Replace(dmarcReportExample, "example.com<", "&b;<", 1)
	record := dmarcReportExample[strings.Index(dmarcReportExample, "<record>"):strings.Index(dmarcReportExample, "</feedback>")]
	for name, text := range map[string]string{"nothing": "", "cut short": dmarcReportExample[:700], "cut short gzip": gzipped(dmarcReportExample)[:100],
		"cut short zip": zipped(t, "x.xml", dmarcReportExample)[:200], "a zip without XML": zipped(t, "x.txt", dmarcReportExample), "entities": bomb,
		"a bomb": gzipped(strings.Repeat(" ", 100<<20)), "a bomb in a zip": zipped(t, "x.xml", strings.Repeat(" ", 100<<20)), "a zip in gzip that is a bomb": gzipped(zipped(t, "x.xml", strings.Repeat(" ", 100<<20))),
		"deep": "<feedback>" + strings.Repeat("<record>", 1<<18), "minus": strings.Replace(dmarcReportExample, ">123<", ">-123<", 1), "overflow": strings.Replace(dmarcReportExample, ">123<", ">9223372036854775807<", 1),
		"no id": strings.Replace(dmarcReportExample, "3v98abbp8ya9n3va8yr8oa3ya", "", 1), "no domain": strings.Replace(dmarcReportExample, "<domain>example.com", "<domain>", 1),
		"no record": strings.Replace(dmarcReportExample, record, "", 1), "another root": strings.ReplaceAll(dmarcReportExample, "feedback", "html"),
		"a time of nonsense": strings.Replace(dmarcReportExample, "1780272000", "1", 1), "too many": strings.Replace(dmarcReportExample, record, strings.Repeat("<record/>", dmarcRecords+1), 1)} {
		if all, err := readDMARCReport(strings.NewReader(text), own); !errors.Is(err, errHeard) {
			t.Errorf("%s: %v, %+v", name, err, all)
		}
	}
	many := strings.Replace(dmarcReportExample, record, strings.Repeat(record, 2000), 1)
	all, err := readDMARCReport(strings.NewReader(many), own)
	if err != nil || len(all) != 1 || len(all[0].Rows) > heardRows+2 || all[0].Good != 123*2000 || all[0].Bad != 4*2000 {
		t.Errorf("4,000 records: %v", err)
	}
}

func FuzzDMARCReport(f *testing.F) {
	f.Add([]byte(dmarcReportExample))
	f.Add([]byte(gzipped(dmarcReportExample)))
	f.Add([]byte(zipped(f, "x.xml", dmarcReportExample)))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := readDMARCReport(bytes.NewReader(b), func(string) bool { return true })
		for _, r := range all {
			if err == nil && (len(r.Rows) > heardRows+2 || r.Good < 0 || r.Bad < 0) {
				t.Errorf("%+v", r)
			}
		}
	})
}
