package main

import "github.com/spf13/cobra"

func (a *app) dumpCommand() *cobra.Command { return &cobra.Command{Use: "dump"} }
