# plimsoll's boot script for {{.Name}}: it decides which of two slots is started.
# Generated from the board's profile; package bootloader/board says what it does
# and why. Numbers of U-Boot's commands are hexadecimal.
echo "plimsoll: boot script {{.ID}}"

# Where U-Boot looks for something to boot: the kernel gets the list, with commas.
setenv pl_targets
for pl_t in ${boot_targets}; do setenv pl_targets ${pl_targets},${pl_t}; done

# 1. The newer copy of the environment whose checksum is right. A copy is
#      0..3 checksum   4 flags   5.. data
#    and larger flags are newer, but 0 is newer than ff.
{{range .Copies -}}
mw.b {{.At}} 0 {{$.Bytes}}
{{end -}}
{{.Interface}} dev {{.Device}}
{{range .Copies -}}
{{$.Interface}} read {{.At}} {{.Block}} {{$.Sectors}}
{{end -}}
setenv pl_order a b
if itest.b *{{(index .Copies 0).Flags}} < *{{(index .Copies 1).Flags}}; then setenv pl_order b a; fi
if itest.b *{{(index .Copies 0).Flags}} == ff; then if itest.b *{{(index .Copies 1).Flags}} == 0; then setenv pl_order b a; fi; fi
if itest.b *{{(index .Copies 0).Flags}} == 0; then if itest.b *{{(index .Copies 1).Flags}} == ff; then setenv pl_order a b; fi; fi
# A checksum that is moved up by one, over the flags, is where env import -c looks for it.
{{range .Copies -}}
setenv pl_import_{{.Name}} 'cp.b {{.At}} {{$.At 0}} {{$.Bytes}}; cp.b {{.At}} {{$.At 1}} 4; env import -c {{$.At 1}} {{$.Data}} {{$.Variables}}'
{{end -}}
{{range .VariableList -}}
setenv {{.}}
{{end -}}
setenv pl_copy
for pl_c in ${pl_order}; do if test -z "${pl_copy}"; then if run pl_import_${pl_c}; then setenv pl_copy ${pl_c}; fi; fi; done
echo "plimsoll: environment from copy ${pl_copy}"
if test -z "${pl_copy}"; then echo "plimsoll: both copies of the environment are damaged"; setenv {{.Trial}} 0; fi
if test -z "${ {{- .Trial -}} }"; then setenv {{.Trial}} 0; fi

# Saving: to the other copy, with flags that are newer: ff after most, 0 after ff, 1 after 0.
{{range .Copies -}}
setenv pl_save_{{.Name}} 'env export -c -s {{$.Data}} {{$.At 1}} {{$.Variables}}; cp.b {{$.At 1}} {{$.Temp}} 4; cp.b {{$.Temp}} {{$.At 0}} 4; mw.b {{$.At 4}} ff; if itest.b *{{.Flags}} == ff; then mw.b {{$.At 4}} 0; fi; if itest.b *{{.Flags}} == 0; then mw.b {{$.At 4}} 1; fi; {{$.Interface}} write {{$.At 0}} {{.OtherBlock}} {{$.Sectors}}'
{{end -}}

# Which slot: A's number stands for whatever is not B's.
setenv pl_slot A
if test "${ {{- .Part -}} }" = "{{.NumberB}}"; then setenv pl_slot B; fi

# 2. Count the boot of a trial, or go back. It is saved before anything is loaded.
setenv pl_trial
if test "${ {{- .Trial -}} }" != "0"; then
  if test -z "${ {{- .Count -}} }"; then setenv {{.Count}} 0; fi
  setenv pl_limit ${ {{- .Limit -}} }
  if test -z "${pl_limit}"; then setenv pl_limit 1; fi
  if test ${pl_limit} -lt 1; then setenv pl_limit 1; fi
  if test ${pl_limit} -gt {{.MaxCount}}; then setenv pl_limit {{.MaxCount}}; fi
  setenv pl_n {{.Overflow}}
{{- range .Counts}}
  if test "${ {{- $.Count -}} }" = "{{.N}}"; then setenv pl_n {{.Next}}; fi
{{- end}}
  if test ${pl_n} -gt ${pl_limit}; then
    echo "plimsoll: ${pl_limit} boots of slot ${pl_slot} without a verdict, going back"
    if test "${pl_slot}" = "A"; then setenv pl_slot B; setenv {{.Part}} {{.NumberB}}; setenv {{.PartHex}} {{.PartB}}; else setenv pl_slot A; setenv {{.Part}} {{.NumberA}}; setenv {{.PartHex}} {{.PartA}}; fi
    setenv {{.Trial}} 0
    setenv {{.Count}} 0
  else
    echo "plimsoll: boot ${pl_n} of ${pl_limit} of slot ${pl_slot}, on trial"
    setenv {{.Count}} ${pl_n}
    setenv pl_trial plimsoll.trial=1
  fi
  if run pl_save_${pl_copy}; then echo "plimsoll: saved"; else echo "plimsoll: THE ENVIRONMENT CANNOT BE SAVED"; fi
fi

# 3. Start the slot, else the other one.
setenv pl_emergency
{{- if .Boot.FirmwareArgs}}
setenv pl_firmware
if test -n "${fdt_addr}"; then if fdt addr ${fdt_addr}; then fdt get value pl_firmware /chosen bootargs; fi; fi
{{- end}}
setenv pl_args 'setenv bootargs "{{if .Boot.FirmwareArgs}}${pl_firmware} {{end}}{{with .Boot.Console}}console={{.}} {{end}}root=${pl_root} {{.Boot.Args}} plimsoll.slot=${pl_slot} ${pl_trial} ${pl_emergency} plimsoll.script={{.ID}} plimsoll.boot_targets=${pl_targets}"'
setenv pl_start_A 'setenv pl_from {{.Interface}} {{.Device}}:{{.PartA}}; setenv pl_root {{.RootPrefix}}{{.NumberA}}; run pl_start'
setenv pl_start_B 'setenv pl_from {{.Interface}} {{.Device}}:{{.PartB}}; setenv pl_root {{.RootPrefix}}{{.NumberB}}; run pl_start'
setenv pl_start 'if part uuid ${pl_from} pl_uuid; then setenv pl_root PARTUUID=${pl_uuid}; fi; run pl_args; {{range .Boot.Kernels}}if load ${pl_from} {{$.Hex $.Boot.Address.Kernel}} {{.File}}; then run pl_rest; {{.Command}} {{$.Hex $.Boot.Address.Kernel}} ${pl_initrd} ${pl_fdt}; fi; {{end}}true'
setenv pl_rest 'setenv pl_fdt ${fdt_addr}; {{with .Boot.DeviceTree}}if load ${pl_from} {{$.Hex $.Boot.Address.DeviceTree}} {{.}}; then setenv pl_fdt {{$.Hex $.Boot.Address.DeviceTree}}; fi; {{end}}setenv pl_initrd -; {{with .Boot.Initrd}}if load ${pl_from} {{$.Hex $.Boot.Address.Initrd}} {{.}}; then setenv pl_initrd {{$.Hex $.Boot.Address.Initrd}}:${filesize}; fi; {{end}}true'
run pl_start_${pl_slot}
echo "plimsoll: slot ${pl_slot} cannot be started, trying the other one"
setenv pl_trial
setenv pl_emergency plimsoll.emergency=1
if test "${pl_slot}" = "A"; then setenv pl_slot B; else setenv pl_slot A; fi
run pl_start_${pl_slot}
echo "plimsoll: neither slot can be started; trying again in 10 seconds"
sleep 10
reset
