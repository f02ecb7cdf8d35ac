package install

import "fmt"

// A Report is what is known of a device.
type Report struct {
	Decision                        // the row of the table that it is in
	Running    string               // slot beneath /, "" for neither
	Boots      string               // slot that the environment names
	OnTrial    bool                 // upgrade_available
	Count      int                  // bootcount
	EnvLost    bool                 // neither copy of the environment is valid
	Artifact   string               // artifact_name of what is installed
	Group      string               // its artifact_group
	Provides   map[string]string    //
	Slots      map[string]SlotState //
	Trial      *Trial               // the last update, whether open or closed
	Failed     []Failure            //
	Floor      string               //
	Bootloader string               // its version
	Drill      *Drill               // the last one with this version; nil if there was none
	Backup     error                // why the backup of the environment could not be restored here; nil if it could
	Problem    error                // why the record or its directory cannot be used; nil if it can
}

// Status says which row of the table the device is in. It takes no lock and
// changes nothing; an error means that not even the question could be asked.
func (d *Device) Status() (Report, error) {
	s, err := d.peek()
	if err != nil {
		return Report{}, err
	}
	sit := s.situation()
	r := Report{
		Decision: Decide(sit), Running: s.run, Boots: sit.Boots, OnTrial: s.env.Trial, Count: s.env.Count,
		EnvLost: s.envLost, Artifact: s.state.Artifact, Group: s.state.Group, Provides: s.state.Provides, Slots: s.state.Slots,
		Trial: s.state.Trial, Failed: s.state.Failed, Problem: s.missing,
	}
	r.Floor = s.facts().Floor
	_, r.Backup = s.backupFits(s.state)
	r.Bootloader = d.BootloaderVersion()
	r.Drill = s.state.drill(r.Bootloader)
	if s.unreadable != nil {
		r.Problem = s.unreadable
	}
	return r, nil
}

// Err returns what keeps the device from working as it should, or nil.
func (r Report) Err() error {
	switch {
	case r.Do == Attention && r.Problem != nil:
		return fmt.Errorf("%w: %w", ErrAttention, r.Problem)
	case r.Do == Attention:
		return fmt.Errorf("%w: %s", ErrAttention, r.Is)
	}
	return nil
}
