package vss

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A ServiceConfig sets up a service. The zero value is a machine as the public
// documentation describes it.
type ServiceConfig struct {
	// Machine is the name that shadow copies carry as their origin; the path of
	// the service's actor if it is empty.
	Machine string

	// VetoFailsSet is the strict reading of a writer's veto: a writer that fails
	// PrepareSnapshot, Freeze, Thaw or PostSnapshot, or whose freeze window runs
	// out, fails the whole set, and DoSnapshotSet ends with its code. By default the set is made, and only GatherWriterStatus tells, as
	// "IVssBackupComponents::DoSnapshotSet" has it; other pages of the
	// documentation can be read either way.
	VetoFailsSet bool

	// ReFS makes the system provider take ReFS volumes for persistent copies, as
	// from Windows Server 2012 on.
	ReFS bool

	// CheckSelectability makes AddComponent refuse a component that only comes
	// with a selectable ancestor. The documentation calls the result of adding
	// one undefined.
	CheckSelectability bool

	// Windows limits how long the service waits for a writer in an event; a
	// writer that takes longer is reported as not responding. Events without an
	// entry have no limit, as none is published. Freeze has its own window,
	// [WriterConfig.FreezeTimeout].
	Windows map[Event]time.Duration

	// WriterSessions is how many sessions a writer keeps; beyond it the oldest
	// one's status is [ErrWriterStatusNotAvailable]. 0 is no limit: the number is
	// not published.
	WriterSessions int

	// MaxSnapshots is the number of shadow copies the system provider makes of
	// one volume, and MaxClientAccessible that of client-accessible ones. 0
	// stands for [MaxSoftwareSnapshots] and [MaxClientAccessibleSnapshots].
	MaxSnapshots        int
	MaxClientAccessible int

	// MinDiffArea is the room in bytes that the system provider wants for the
	// differences of a new copy where a volume limits it ([DiffAreaVolume]). 0 wants
	// no more than some: the volumes of models are small. Windows has 320 MB, and
	// 32 MB on volumes below 500 MB (MinDiffAreaFileSize in "Registry Keys and
	// Values for Backup and Restore").
	MinDiffArea int64

	// Environment expands variables in paths: "SystemRoot" gives `C:\Windows`.
	Environment map[string]string

	// Account tells on whose behalf an actor acts; nil makes everybody
	// [Administrator].
	Account func(actor *sim.Actor) Account

	// TransactionManagers are frozen and thawed with the writers.
	TransactionManagers []TransactionManager

	// AbortAfterPostSnapshot sends Abort also to writers that have had
	// PostSnapshot, when a requester calls AbortBackup. "CVssWriter::OnAbort" says
	// that they get none; the page of AbortBackup can be read so that they do.
	AbortAfterPostSnapshot bool

	// AccessControl is the registry key VSS\VssAccessControl: what accounts may
	// do beyond, or instead of, what their kind may.
	AccessControl map[Account]Access

	// Admits tells whether a process lets callers of an account in, as its COM
	// security settings have it. Nil stands for processes that are set up as the
	// documentation demands: a requester lets the system, the service accounts,
	// administrators and backup operators in, a writer the system,
	// administrators, backup operators and its own account.
	Admits func(process *sim.Actor, caller Account) bool
}

// Limits of the service ("IVssBackupComponents::AddToSnapshotSet", "Usage
// Conventions", "Registry Keys and Values for Backup and Restore").
const (
	MaxVolumesPerSet             = 64
	MaxSoftwareSnapshots         = 512
	MaxClientAccessibleSnapshots = 64
)

// HoldTimeout is how long the writes of a set are held at most. It cannot be
// configured ("Required Behaviors for Shadow Copy Providers").
const HoldTimeout = 10 * time.Second

// A Service is the Volume Shadow Copy Service of one machine: it tells writers
// what comes, makes providers copy volumes, and keeps the list of shadow copies.
// Requesters work with it through [Service.CreateBackupComponents] ("The VSS Model").
//
// Any number of services live in one world: that of a host, and those inside the
// machines it runs. What concerns the whole machine, such as that only one
// shadow copy set is being made at a time, concerns one service.
type Service struct {
	actor     *sim.Actor
	config    ServiceConfig
	volumes   []Volume
	providers []*provider // the system provider is the first
	writers   []*Subscription
	express   []*Subscription
	snapshots []*snapshot // oldest first
	creating  *BackupComponents
	devices   int
	reverts   []revert
	resyncing bool
	holding   bool     // the writes of a set are held
	unwritten []logged // what waits for that to end
}

// NewService starts the service of a machine as a process of a. The system
// provider is there from the beginning.
func NewService(a *sim.Actor, c ServiceConfig) *Service {
	if c.Machine == "" {
		c.Machine = a.Path()
	}
	s := &Service{actor: a, config: c}
	s.providers = []*provider{{
		service:      s,
		Provider:     &systemProvider{service: s},
		ProviderInfo: ProviderInfo{ID: SystemProviderID, Name: SystemProviderName, Type: ProviderSystem, Version: SystemProviderVersion},
		actor:        a.Child("swprv"),
	}}
	return s
}

// Actor is the actor the service runs on.
func (s *Service) Actor() *sim.Actor { return s.actor }

// AddVolume makes a volume known. Its name must not be taken, in any case of the
// letters, and end in a backslash. Shadow copies that the volume already has
// join the list as persistent ones of the system provider.
func (s *Service) AddVolume(v Volume) error {
	const op = "AddVolume"
	if !strings.HasSuffix(v.Name(), `\`) {
		return fail(op, v.Name(), ErrInvalidArg, "the name does not end in a backslash")
	}
	for _, o := range s.volumes {
		if strings.EqualFold(o.Name(), v.Name()) || o.ID() == v.ID() {
			return fail(op, v.Name(), ErrObjectAlreadyExists, "a volume has this name or this ID")
		}
	}
	s.volumes = append(s.volumes, v)
	s.adopt(v)
	return nil
}

// RemoveVolume forgets a volume and the shadow copies of it, as when its disk is
// taken away. The copies themselves stay where they are.
func (s *Service) RemoveVolume(name string) error {
	v := s.lookupVolume(name)
	if v == nil {
		return fail("RemoveVolume", name, ErrObjectNotFound, "no such volume")
	}
	s.volumes = slices.DeleteFunc(s.volumes, func(o Volume) bool { return o.ID() == v.ID() })
	s.snapshots = slices.DeleteFunc(s.snapshots, func(c *snapshot) bool { return c.isOf(v) })
	return nil
}

// Volumes lists the volumes in the order they were added.
func (s *Service) Volumes() []Volume { return slices.Clone(s.volumes) }

// lookupVolume finds a volume by its root path or as \\?\Volume{GUID}\.
func (s *Service) lookupVolume(name string) Volume {
	for _, v := range s.volumes {
		if strings.EqualFold(v.Name(), name) || strings.EqualFold(volumeGUIDPath(v), name) {
			return v
		}
	}
	return nil
}

// volumeOf finds the volume a path lies on: the longest root that the path
// begins with.
func (s *Service) volumeOf(path string) Volume {
	path = strings.ToLower(s.expand(path))
	byGUID := strings.HasPrefix(path, `\\?\volume{`)
	var best Volume
	for _, v := range s.volumes {
		if byGUID && beginsWith(path, strings.ToLower(volumeGUIDPath(v))) {
			return v
		}
		if beginsWith(path, strings.ToLower(v.Name())) && (best == nil || len(v.Name()) > len(best.Name())) {
			best = v
		}
	}
	return best
}

// beginsWith tells whether a path begins with a root, whose backslash at the end it
// may lack.
func beginsWith(path, root string) bool {
	return strings.HasPrefix(path, root) || len(path) == len(root)-1 && root == path+`\`
}

// expand replaces %NAME% by the configured value; an unknown name stays.
func (s *Service) expand(path string) string {
	if !strings.Contains(path, "%") {
		return path
	}
	var b strings.Builder
	for {
		head, rest, found := strings.Cut(path, "%")
		b.WriteString(head)
		if !found {
			return b.String()
		}
		name, tail, closed := strings.Cut(rest, "%")
		value, known := s.environment(name)
		if !closed || !known {
			b.WriteByte('%')
			path = rest
			continue
		}
		b.WriteString(value)
		path = tail
	}
}

func (s *Service) environment(name string) (string, bool) {
	if v, ok := s.config.Environment[name]; ok {
		return v, true
	}
	found, value := "", ""
	for k, v := range s.config.Environment {
		if strings.EqualFold(k, name) && (found == "" || k < found) {
			found, value = k, v
		}
	}
	return value, found != ""
}

func volumeGUIDPath(v Volume) string { return `\\?\Volume` + guid.Braced(v.ID()) + `\` }

// nextDevice names the device of a new shadow copy.
func (s *Service) nextDevice() string {
	s.devices++
	return `\\?\GLOBALROOT\Device\HarddiskVolumeShadowCopy` + strconv.Itoa(s.devices)
}

// InProgress tells whether a shadow copy set is being made: from StartSnapshotSet
// until DoSnapshotSet has ended or the set is given up.
func (s *Service) InProgress() bool { return s.creating != nil }

func short(id guid.GUID) string { return guid.String(id)[:8] }

// codeName is a code for the trace: its Windows name, or its number.
func codeName(h HRESULT) string {
	if name := h.Name(); name != "" {
		return name
	}
	return h.String()
}
