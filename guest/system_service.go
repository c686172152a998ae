package guest

import "github.com/shadowsim/shadowsim/internal/guid"

// A ServiceName is the short name of an integration service.
type ServiceName string

// The integration services of Hyper-V.
const (
	BackupService         ServiceName = "vmicvss"
	HeartbeatService      ServiceName = "vmicheartbeat"
	DataExchangeService   ServiceName = "vmickvpexchange"
	ShutdownService       ServiceName = "vmicshutdown"
	TimeSyncService       ServiceName = "vmictimesync"
	GuestInterfaceService ServiceName = "vmicguestinterface"
)

// ServiceNames lists the integration services, in the order of the constants.
func ServiceNames() []ServiceName {
	return []ServiceName{BackupService, HeartbeatService, DataExchangeService, ShutdownService,
		TimeSyncService, GuestInterfaceService}
}

// DisplayName returns the name that the guest's list of services shows. The
// one of the backup service, "Hyper-V Volume Shadow Copy Requestor", is what
// "Backing Up and Restoring Virtual Machines" asks for. A name that is not
// known here is its own display name.
func (n ServiceName) DisplayName() string {
	switch n {
	case BackupService:
		return "Hyper-V Volume Shadow Copy Requestor"
	case HeartbeatService:
		return "Hyper-V Heartbeat Service"
	case DataExchangeService:
		return "Hyper-V Data Exchange Service"
	case ShutdownService:
		return "Hyper-V Guest Shutdown Service"
	case TimeSyncService:
		return "Hyper-V Time Synchronization Service"
	case GuestInterfaceService:
		return "Hyper-V Guest Service Interface"
	}
	return string(n)
}

// ClassID returns the class under which the service's channel is offered to
// the guest; zero for a name that is not known here.
func (n ServiceName) ClassID() [16]byte {
	switch n {
	case BackupService:
		return guid.MustParse("35fa2e29-ea23-4236-96ae-3a6ebacba440")
	case HeartbeatService:
		return guid.MustParse("57164f39-9115-4e78-ab55-382f3bd5422d")
	case DataExchangeService:
		return guid.MustParse("a9a0f4e7-5a45-4d96-b827-8a841e8c03e6")
	case ShutdownService:
		return guid.MustParse("0e0b6031-5213-4934-818b-38d90ced39db")
	case TimeSyncService:
		return guid.MustParse("9527e630-d0ae-497b-adce-e80ab0175caf")
	case GuestInterfaceService:
		return guid.MustParse("34d14be3-dee4-41c8-9ae7-6b174977c192")
	}
	return [16]byte{}
}

// IntegrationServices returns what setup leaves behind in a guest that has
// just been given its integration services: all that the operating system
// supports, of one version, installed, started automatically and running.
func IntegrationServices(os OS, version string) []IntegrationService {
	var list []IntegrationService
	for _, n := range ServiceNames() {
		if os.Supports(n) {
			list = append(list, IntegrationService{Name: n, Version: version, Installed: true, Start: StartAutomatic, Running: true})
		}
	}
	return list
}
