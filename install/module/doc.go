// Package module runs Mender's update modules, protocol version 3: programs
// that install what is no root file system.
//
// A module is called once for each state of an installation, with the state
// and the path of a folder as its arguments; the folder, its tree, is where it
// runs, finds what the artifact says, and keeps what it needs until the next
// call, also over a reboot:
//
//	version                  3
//	current_artifact_name    and current_artifact_group, current_device_type
//	header/artifact_name     and artifact_group, payload_type
//	header/header-info       and type-info, meta-data: JSON; null if there is none
//	tmp/                     the module's own
//	stream-next, streams/    during Download: pipes
//	files/                   after Download, if the module did not use them
//
// During Download a module may read the payload as it comes. stream-next is a
// named pipe of which every opening yields one line, the name of another pipe
// in streams/, which yields a file and is read to its end before stream-next is
// opened again; an opening that yields nothing says that there is no more. The
// sum of a file is known to be right only at its end, so that a module must not
// make use of anything before it is called for ArtifactInstall; the end of a
// file with a wrong sum is never seen by it. A module that exits with code 0
// and never opened stream-next gets the files in files/.
//
// Whatever a module does, a call ends: with the module, with its time-out or
// with the context, and without leaving a process or an open file.
package module
