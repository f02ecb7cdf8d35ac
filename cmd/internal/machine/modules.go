package machine

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
)

// What the initramfs loads until the disk is there, and what the system can
// load later. In Debian's arm64 kernel all of it is modular.
var (
	virtModules  = []string{"virtio_pci", "virtio_blk", "i6300esb", "crc32c_generic", "ext4"}
	pi3Modules   = []string{"bcm2835_wdt", "bcm2835", "crc32c_generic", "ext4"} // without the first a Pi cannot reboot
	laterModules = []string{"vfat", "nls_ascii", "nls_cp437", "exfat", "xhci_pci", "usb_storage", "sd_mod", "phy_generic", "dwc2", "virtio_net"}
)

// A moduleTree is the content of modules.dep: for each module, by its name,
// its file and the files that must be loaded before it, the last one first.
type moduleTree map[string][]string

func (d *Debian) modules() (moduleTree, error) {
	b, err := os.ReadFile(d.kernel("lib/modules/%s/modules.dep"))
	if err != nil {
		return nil, err
	}
	return parseModules(string(b)), nil
}

func parseModules(dep string) moduleTree {
	tree := moduleTree{}
	for line := range strings.Lines(dep) {
		file, before, ok := strings.Cut(strings.TrimSpace(line), ":")
		if ok {
			tree[moduleName(file)] = append([]string{file}, strings.Fields(before)...)
		}
	}
	return tree
}

// moduleName is what modprobe calls the module in a file.
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// closure returns the files of modules and of all that they need, in the order
// in which they can be loaded.
func (t moduleTree) closure(names ...string) ([]string, error) {
	var files []string
	for _, name := range names {
		entry, ok := t[name]
		if !ok {
			return nil, fmt.Errorf("kernel module %s: %w", name, os.ErrNotExist)
		}
		for _, file := range slices.Backward(entry) {
			if !strings.HasSuffix(file, ".ko") {
				return nil, fmt.Errorf("kernel module %s is compressed: %s", name, file)
			}
			if !slices.Contains(files, file) {
				files = append(files, file)
			}
		}
	}
	return files, nil
}
