// The words of the pages in Chinese. English texts are their own keys.
package main

// webChinese is the table of words. web_test.go sees that none is missing.
func webChinese() map[string]string {
	return map[string]string{}
}
