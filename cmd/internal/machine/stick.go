package machine

import (
	"context"
	"fmt"
)

// A Stick is an image that was plugged in as a USB stick.
type Stick struct {
	m    *Machine
	name string
	rate string // its throttle group, if it has one
}

// Plug plugs a stick in. The guest sees it a second or two later. The image is
// in use until Unplug.
func (m *Machine) Plug(ctx context.Context, image Disk) (*Stick, error) {
	ctx, cancel := m.patience(ctx)
	defer cancel()
	s := &Stick{m: m, name: fmt.Sprintf("stick%d", m.sticks.Add(1))}
	if err := s.plug(ctx, image); err != nil {
		return nil, fmt.Errorf("plug in %s: %w", image.Path, err)
	}
	return s, nil
}

func (s *Stick) plug(ctx context.Context, image Disk) error {
	group, top := image.nodes(s.name)
	if group != nil {
		s.rate = s.name + "-rate"
		if err := s.m.Execute(ctx, "object-add", group, nil); err != nil {
			return err
		}
	}
	if err := s.m.Execute(ctx, "blockdev-add", top, nil); err != nil {
		return err
	}
	device := node{"driver": "usb-storage", "id": s.name, "drive": s.name, "removable": true}
	if s.m.board == Virt {
		device["bus"] = "xhci.0"
	}
	return s.m.Execute(ctx, "device_add", device, nil)
}

// Unplug pulls the stick out, whatever the guest is doing with it.
func (s *Stick) Unplug(ctx context.Context) error {
	ctx, cancel := s.m.patience(ctx)
	defer cancel()
	if err := s.unplug(ctx); err != nil {
		return fmt.Errorf("unplug: %w", err)
	}
	return nil
}

func (s *Stick) unplug(ctx context.Context) error {
	before := s.m.monitor.seen()
	if err := s.m.Execute(ctx, "device_del", node{"id": s.name}, nil); err != nil {
		return err
	}
	if err := s.m.monitor.wait(ctx, before, "DEVICE_DELETED", s.name); err != nil {
		return err
	}
	if err := s.m.Execute(ctx, "blockdev-del", node{"node-name": s.name}, nil); err != nil {
		return err
	}
	if s.rate == "" {
		return nil
	}
	return s.m.Execute(ctx, "object-del", node{"id": s.rate}, nil)
}
