package main

import "github.com/spf13/cobra"

func (a *app) stickCommand() *cobra.Command {
	return group("stick", "Updates by USB stick", a.stickReportsCommand())
}
