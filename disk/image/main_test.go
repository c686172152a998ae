package image_test

import (
	"testing"

	"github.com/shadowsim/shadowsim/internal/testmain"
)

func TestMain(m *testing.M) { testmain.CollectLess(m) }
