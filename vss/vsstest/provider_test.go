package vsstest_test

import (
	"context"
	"testing"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/vsstest"
)

func systemProvider(_ context.Context, env *vsstest.ProviderEnv) (vss.Provider, error) {
	return env.Service.Provider(vss.SystemProviderID), nil
}

func arrayOptions() vsstest.ProviderOptions {
	return vsstest.ProviderOptions{Config: vss.ProviderConfig{Name: "Array", Type: vss.ProviderHardware}}
}

// The system provider and a provider as those of hardware are keep every promise.
func TestSampleProviders(t *testing.T) {
	t.Run("system", func(t *testing.T) { vsstest.RunProvider(t, systemProvider, vsstest.ProviderOptions{}) })
	t.Run("array", func(t *testing.T) { vsstest.RunProvider(t, newArray, arrayOptions()) })
}

func TestSampleProvidersAsErrors(t *testing.T) {
	if err := vsstest.TestProvider(systemProvider, vsstest.ProviderOptions{Runs: 30}); err != nil {
		t.Error(err)
	}
}
