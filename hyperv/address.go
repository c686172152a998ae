package hyperv

import (
	"fmt"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// An addressPool gives out the MAC addresses of a host, and knows which are in
// use: machines restored from another host bring theirs along, so that two may
// have one address. Nothing is done about that; the trace tells.
type addressPool struct {
	last int64
	used map[string]int // how many adapters have an address
}

// next is an address of the host's range that no adapter has.
func (p *addressPool) next() string {
	for {
		p.last++
		if mac := fmt.Sprintf("00155D%06X", p.last); p.used[mac] == 0 {
			return mac
		}
	}
}

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
