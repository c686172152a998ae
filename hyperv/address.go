package hyperv

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// A MACRange is the MAC addresses that a host gives to network adapters, each twelve
// hexadecimal digits (MinimumMacAddress and MaximumMacAddress of
// Msvm_VirtualSystemManagementServiceSettingData). Hosts that were made from one image
// have the same, and give out the same addresses. The zero value is 00155D000001 to
// 00155DFFFFFF.
type MACRange struct{ Min, Max string }

func (r MACRange) pool() (p addressPool, err error) {
	if r == (MACRange{}) {
		r = MACRange{"00155D000001", "00155DFFFFFF"}
	}
	if p.min, err = parseMAC(r.Min); err == nil {
		p.max, err = parseMAC(r.Max)
	}
	if err == nil && p.min > p.max {
		err = errors.New("it ends before it begins")
	}
	p.next = p.min
	return p, err
}

func parseMAC(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 16, 48)
	if err != nil || len(s) != 12 {
		return 0, fmt.Errorf("%q is no MAC address", s)
	}
	return n, nil
}

// An addressPool gives out the MAC addresses of a host, and knows which are in
// use: machines restored from another host bring theirs along, so that two may
// have one address. Nothing is done about that; the trace tells.
type addressPool struct {
	min, max uint64
	next     uint64         // to be given out
	used     map[string]int // how many adapters have an address
}

var errNoAddress = errors.New("every MAC address of the host's range is in use")

// draw is an address of the host's range that no adapter has, in turn.
func (p *addressPool) draw() (string, error) {
	for range min(p.max-p.min, uint64(len(p.used))) + 1 { // one of so many is free, or none is
		mac := fmt.Sprintf("%012X", p.next)
		if p.next++; p.next > p.max {
			p.next = p.min
		}
		if p.used[mac] == 0 {
			return mac, nil
		}
	}
	return "", errNoAddress
}

// reset forgets which addresses are in use.
func (p *addressPool) reset() { p.used = nil }

// take notes the addresses of a configuration.
func (p *addressPool) take(c *Configuration) {
	for _, a := range c.Adapters {
		if a.MAC == "" {
			continue
		}
		if p.used == nil {
			p.used = make(map[string]int)
		}
		p.used[a.MAC]++
	}
}

// tell reports the addresses that a machine shares.
func (p *addressPool) tell(vm *VM) {
	for i, a := range vm.config.Adapters {
		if p.used[a.MAC] > 1 {
			vm.emit("vm/mac-collision", "", sim.N("adapter", i), sim.S("mac", a.MAC))
		}
	}
}

func (p *addressPool) giveBack(c *Configuration) {
	for _, a := range c.Adapters {
		if a.MAC == "" {
			continue
		}
		if p.used[a.MAC]--; p.used[a.MAC] <= 0 {
			delete(p.used, a.MAC)
		}
	}
}
