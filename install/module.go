package install

import (
	"context"
	"fmt"

	"github.com/plimsoll-ota/plimsoll/artifact"
)

func (s *session) module(ctx context.Context, state string) error { return nil }
func (s *session) askModule(ctx context.Context, t *Trial) error  { return nil }
func (s *session) moduleRollsBack(ctx context.Context) error      { return nil }
func (s *session) installModule(ctx context.Context, r *artifact.Reader, o Options) error {
	return fmt.Errorf("%w: payload of type %q", artifact.ErrUnsupported, r.Header().Type)
}
