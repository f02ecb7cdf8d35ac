package install

import (
	"context"
	"errors"
	"fmt"
)

// RepairEnvironment makes both copies of the boot environment valid again, and
// returns what it did: "renewed", where one was valid and was written to the
// other; "restored", where both were lost and the backup in the state directory
// took their place, by the rules of row A7. ErrIntact where nothing is damaged.
// A backup of another place, disk or size is refused, and so is a configuration
// of another geometry than the bootloader's.
func (d *Device) RepairEnvironment(ctx context.Context) (done string, err error) {
	s, err := d.begin()
	if err != nil {
		return "", err
	}
	done, err = s.repairEnvironment(ctx)
	return done, errors.Join(err, s.end())
}

func (s *session) repairEnvironment(ctx context.Context) (string, error) {
	if s.envLost {
		return "restored", s.restoreLost(ctx)
	}
	if s.env.Valid == s.env.Copies {
		return "", fmt.Errorf("%w: %d of %d copies are valid", ErrIntact, s.env.Valid, s.env.Copies)
	}
	if err := s.Boot.Renew(); err != nil {
		return "", err
	}
	s.note(Event{Event: "environment renewed"})
	return "renewed", nil
}

// restoreLost follows the table until the environment is there again, and no
// further.
func (s *session) restoreLost(ctx context.Context) error {
	if s.missing != nil {
		return fmt.Errorf("%w: no backup can be had: %w", ErrAttention, s.missing)
	}
	if _, err := s.backupFits(s.state); err != nil {
		return fmt.Errorf("%w: both copies of the boot environment are damaged: %w", ErrAttention, err)
	}
	d, err := s.settle(ctx, func(Decision) bool { return !s.envLost })
	if err == nil && s.envLost {
		err = s.attention(d)
	}
	return err
}
