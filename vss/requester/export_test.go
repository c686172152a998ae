package requester

// Client lets tests stand between a requester and the service.
type Client = client

// Through has a backup go through what fn makes of its client.
func (b *Backup) Through(fn func(Client) Client) { b.through = fn }

// Through has a restore go through what fn makes of its client.
func (r *Restore) Through(fn func(Client) Client) { r.through = fn }
