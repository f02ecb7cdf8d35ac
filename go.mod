module github.com/plimsoll-ota/plimsoll

go 1.26.0

require (
	github.com/BurntSushi/toml v1.6.0 // configuration and board profiles are TOML: edited by hand, with comments
	github.com/diskfs/go-diskfs v1.9.4 // partition tables of disk images, MBR and GPT
	github.com/google/go-cmp v0.7.0 // tests: what differs, rather than that it does
	github.com/klauspost/compress v1.20.3 // gzip and zstd: faster than the standard library, and in pure Go
	github.com/mikelolasagasti/xz v1.0.1 // reads xz, seven times as fast as ulikunitz/xz and in half the memory
	github.com/rogpeppe/go-internal v1.16.0 // what differs between two texts; tests: testscript, the command as its users type it
	github.com/spf13/cobra v1.10.2 // verbs, flags, help and completion of the command
	github.com/spf13/pflag v1.0.9 // its flags, where words of another tool are taken for them
	github.com/ulikunitz/xz v0.5.17 // writes xz, in pure Go
	go.yaml.in/yaml/v3 v3.0.4 // tests: that what artifact read prints is YAML
	golang.org/x/crypto v0.58.0 // nacl/box: logs that only the office reads
	golang.org/x/sys v0.49.0 // what the standard library has not of Linux: O_DIRECT, ioctls, statx
	golang.org/x/term v0.47.0 // whether there is a terminal to draw a line of progress on
	golang.org/x/time v0.16.0 // the limit of install --io-limit
)

require (
	github.com/google/uuid v1.6.0 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	golang.org/x/exp/typeparams v0.0.0-20231108232855-2478ac86f678 // indirect
	golang.org/x/mod v0.41.0 // indirect
	golang.org/x/sync v0.23.0 // indirect
	golang.org/x/tools v0.51.0 // indirect
	honnef.co/go/tools v0.8.2 // indirect
)

// The static analysis of make check.
tool honnef.co/go/tools/cmd/staticcheck
