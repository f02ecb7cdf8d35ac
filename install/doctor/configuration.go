package doctor

import (
	"fmt"
	"strings"
)

func lookConfig(p *patient) Result {
	if p.Config.Err != nil {
		return problem(p.Config.Err.Error(),
			"nothing can be installed, and no trial is judged: it falls back",
			"correct the configuration; its keys are in docs/configuration.md")
	}
	return ok("%s", p.Config.Path)
}

// menderTypes is where a Mender client has its device type.
var menderTypes = []string{"/var/lib/mender/device_type", "/data/mender/device_type"}

func lookDeviceType(p *patient) Result {
	have := p.Device.Type
	if have == "" {
		return problem("none is set", "every artifact is refused", "set device_type in the configuration")
	}
	for _, path := range menderTypes {
		theirs, found := strings.CutPrefix(read(p.file(path)), "device_type=")
		if found && theirs != have {
			return warning(fmt.Sprintf("%s, and %s says %s", have, path, theirs),
				"artifacts that were made for this device's Mender client are refused",
				"make both the same, or remove "+path)
		}
	}
	return ok("%s", have)
}

func lookKeys(p *patient) Result {
	switch {
	case p.Config.KeysErr != nil:
		return problem(p.Config.KeysErr.Error(),
			"every artifact is refused, and a new system in which that is so could never update again",
			"put the public key where [trust] keys looks for it")
	case p.Config.Unsigned:
		return warning(fmt.Sprintf("%d trusted, and artifacts without a signature are accepted", p.Config.Keys),
			"whoever can plug in a stick can replace the system",
			"remove allow_unsigned from the configuration once artifacts are signed")
	case p.Config.Keys == 0:
		return problem("none is trusted",
			"every artifact is refused, and a new system in which that is so could never update again",
			"name the public keys in [trust] keys")
	}
	return ok("%d trusted", p.Config.Keys)
}
