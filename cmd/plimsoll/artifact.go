package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/plimsoll-ota/plimsoll/artifact"
)

func (a *app) artifactCommand() *cobra.Command {
	return group("artifact", "Build, inspect, verify, sign and change artifacts",
		group("write", "Build an artifact", a.writeRootfsCommand(), a.writeModuleCommand(), a.writeBootstrapCommand()),
		a.readCommand(), a.verifyCommand(), a.dumpCommand(), a.signCommand(), a.modifyCommand(), a.diffCommand(),
		a.catCommand(), a.cpCommand(), a.lsCommand(), a.rmCommand(), a.insertCommand())
}

// inspect reads the artifact at path to its end.
func (a *app) inspect(ctx context.Context, path string) (*artifact.Info, error) {
	src, name, err := a.open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer src.Close() // only read
	info, err := artifact.Inspect(src)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return info, nil
}

// noProgress accepts the flag of Mender's tool; ours shows none there.
func noProgress(cmd *cobra.Command) {
	cmd.Flags().Bool("no-progress", false, "accepted for scripts; see --quiet")
}

// require marks flags without which a command makes no sense.
func require(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic("plimsoll: " + err.Error())
		}
	}
}
