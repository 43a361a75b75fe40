// Content in another form than it is stored in: with its binary parts encoded.
package main

import (
	"errors"
)

// WithoutBinary returns the content with its binary parts encoded, as whoever does not take binary can have it (EncodeBinary):
// with a tree, a header and a size of its own, all of which agree. It is made anew each time and held in memory or a temporary
// file: the caller must close it. Content that has no such parts comes back as it is, as does what is too odd to be encoded.
func (c *Content) WithoutBinary() (*Content, error) {
	tree := c.Tree()
	if !tree.HasBinary() {
		return c, nil
	}
	sp := c.s.NewSpool(3*c.Size + chunkSize) // quoted-printable is chosen where it takes less than base64
	err := EncodeBinary(sp, tree, c, true)
	var head []byte
	if err == nil {
		head, err = sp.Head()
	}
	if err != nil {
		sp.Close()
		if errors.Is(err, ErrNotConvertible) {
			return c, nil
		}
		return nil, err
	}
	return &Content{ID: c.ID, Size: sp.Size(), HeadLen: sp.Tree().HeaderLen, Head: head, part: sp.Tree(), s: c.s, at: -1, spool: sp}, nil
}

// Close gives back what WithoutBinary has taken; other content holds nothing.
func (c *Content) Close() error {
	if c.spool == nil {
		return nil
	}
	return c.spool.Close()
}
