package vsstest

// WriterUntil is TestWriter that ends as soon as the promise was found broken.
func WriterUntil(newWriter NewWriter, o WriterOptions, breaks func(Promise) bool) error {
	k := writerKit(newWriter, o)
	k.enough = found(breaks)
	return k.test()
}

// WriterAtRandom is TestWriter with the random sequences alone.
func WriterAtRandom(newWriter NewWriter, o WriterOptions) error {
	k := writerKit(newWriter, o)
	k.cases = nil
	return k.test()
}

// ProviderUntil is TestProvider that ends as soon as the promise was found broken.
func ProviderUntil(newProvider NewProvider, o ProviderOptions, breaks func(Promise) bool) error {
	k := providerKit(newProvider, o)
	k.enough = found(breaks)
	return k.test()
}

func found(breaks func(Promise) bool) func([]*Broken) bool {
	return func(list []*Broken) bool {
		for _, b := range list {
			if breaks(b.Promise) {
				return true
			}
		}
		return false
	}
}
