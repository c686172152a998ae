package guesttest

import "errors"

// FirstBroken is TestRequestor up to the first promise that is not kept.
func FirstBroken(newRequestor NewRequestor, o Options) error {
	for _, c := range requestorCases() {
		if err := c.run(newRequestor, o); err != nil && !errors.Is(err, errSkipped) {
			return err
		}
	}
	return nil
}
