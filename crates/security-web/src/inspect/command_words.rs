//! The names of commands: those that are no word of a sentence, and those that are.

/// Commands that are no word of a sentence, in order.
const PLAIN: [&[u8]; 194] = [
    b"aa-disable", b"adduser", b"ansible", b"ansible-playbook", b"apk", b"apt", b"apt-get", b"aria2c",
    b"arp", b"awk", b"bash", b"bitsadmin", b"bsdtar", b"bunzip2", b"busybox", b"bzcat", b"bzip2", b"c89",
    b"c99", b"cat", b"certutil", b"chattr", b"chgrp", b"chmod", b"chown", b"chpasswd", b"chroot", b"cmd",
    b"cmd.exe", b"cpio", b"cpulimit", b"crontab", b"cscli", b"cscript", b"csh", b"curl", b"dash", b"dd",
    b"df", b"diskpart", b"dmesg", b"dnf", b"docker", b"dpkg", b"du", b"egrep", b"fdisk", b"fgrep",
    b"findstr", b"finger", b"fsutil", b"ftp", b"fuser", b"gawk", b"gcc", b"gdb", b"getent", b"git",
    b"gobuster", b"gunzip", b"gzip", b"hexdump", b"htop", b"icacls", b"iconv", b"iex", b"ifconfig",
    b"ipconfig", b"iptables", b"irb", b"iwmi", b"iwr", b"journalctl", b"jrunscript", b"killall", b"ksh",
    b"kubectl", b"lastlog", b"ldd", b"ls", b"lsblk", b"lsof", b"lspci", b"lua", b"lwp-download", b"lynx",
    b"mawk", b"md5sum", b"mkdir", b"mkfifo", b"mkfs", b"mknod", b"mktemp", b"mshta", b"msiexec", b"nc",
    b"nc.openbsd", b"nc.traditional", b"ncat", b"netcat", b"netsh", b"netstat", b"nl", b"nmap", b"nohup",
    b"nslookup", b"ntpdate", b"od", b"openssl", b"passwd", b"perl", b"pgrep", b"php", b"ping", b"ping6",
    b"pip", b"pip3", b"pkill", b"powershell", b"powershell.exe", b"printenv", b"printf", b"ps", b"pwd",
    b"pwsh", b"python", b"python2", b"python2.7", b"python3", b"readlink", b"regedit", b"regsvr32",
    b"rlwrap", b"rm", b"rmdir", b"rpm", b"rsync", b"ruby", b"rundll32", b"rundll32.exe", b"schtasks",
    b"scp", b"sftp", b"sh", b"sha1sum", b"sha256sum", b"shred", b"socat", b"ss", b"ssh", b"strace", b"su",
    b"sudo", b"systemctl", b"systeminfo", b"tac", b"tar", b"taskkill", b"tasklist", b"tclsh", b"tcpdump",
    b"telnet", b"tftp", b"tmux", b"traceroute", b"tracert", b"truss", b"umount", b"uname", b"uniq", b"unxz",
    b"unzip", b"useradd", b"userdel", b"usermod", b"vim", b"visudo", b"vmstat", b"wget", b"whereis",
    b"whoami", b"wmic", b"wscript", b"xargs", b"xterm", b"xxd", b"xz", b"xzcat", b"yum", b"zcat", b"zsh",
    b"zstd", b"zstdcat", b"zypper",
];
/// Those of them that people write of, in order: a word behind them is no argument.
const WRITTEN_OF: [&[u8]; 49] = [
    b"ansible", b"apt", b"awk", b"bash", b"busybox", b"bzip2", b"cat", b"cmd", b"curl", b"dash", b"dd",
    b"df", b"docker", b"du", b"ftp", b"gcc", b"gdb", b"git", b"gzip", b"htop", b"iptables", b"kubectl",
    b"ls", b"lua", b"lynx", b"mkdir", b"openssl", b"passwd", b"perl", b"php", b"ping", b"pip",
    b"powershell", b"printf", b"ps", b"pwd", b"python", b"rm", b"ruby", b"ss", b"ssh", b"su", b"sudo",
    b"tar", b"telnet", b"tmux", b"uniq", b"vim", b"yum",
];
/// Commands that are also words, in order: they need an argument that no sentence has.
const WORDS: [&[u8]; 103] = [
    b"alias", b"arch", b"base32", b"base64", b"break", b"call", b"cd", b"chef", b"column", b"comm",
    b"command", b"copy", b"cp", b"cut", b"date", b"del", b"dig", b"dir", b"echo", b"ed", b"env", b"erase",
    b"eval", b"exec", b"export", b"expr", b"file", b"find", b"fold", b"gem", b"go", b"grep", b"groups",
    b"halt", b"head", b"history", b"host", b"hostname", b"id", b"install", b"java", b"join", b"kill",
    b"last", b"less", b"link", b"locate", b"login", b"logname", b"look", b"mail", b"make", b"more",
    b"mount", b"move", b"mv", b"nano", b"net", b"nice", b"node", b"npm", b"paste", b"poweroff", b"read",
    b"reboot", b"reg", b"rename", b"rev", b"route", b"screen", b"sed", b"service", b"set", b"shutdown",
    b"sleep", b"sort", b"source", b"split", b"start", b"stat", b"strings", b"tail", b"tee", b"test",
    b"time", b"timeout", b"top", b"touch", b"trap", b"type", b"ulimit", b"unset", b"uptime", b"users",
    b"ver", b"vol", b"w", b"wall", b"watch", b"who", b"write", b"yes", b"zip",
];
/// Commands that run the one behind them.
const RUNNERS: [&[u8]; 14] = [
    b"sudo", b"time", b"exec", b"nohup", b"env", b"eval", b"command", b"xargs", b"nice", b"busybox", b"builtin", b"strace",
    b"setsid", b"stdbuf",
];
/// Commands that show or change files, and are no word of a sentence.
const OF_FILES: [&[u8]; 16] = [
    b"cat", b"tac", b"ls", b"nl", b"rm", b"chmod", b"chown", b"grep", b"awk", b"sed", b"xxd", b"od", b"zcat", b"dir", b"del", b"cp",
];

/// What a name is as a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// No word of a sentence, and nothing that people write of.
    Plain,
    /// No word of a sentence, but of texts about computers.
    WrittenOf,
    /// A word as well.
    Word,
}

pub(super) fn kind(name: &[u8]) -> Option<Kind> {
    if PLAIN.binary_search(&name).is_ok() {
        return Some(if WRITTEN_OF.binary_search(&name).is_ok() { Kind::WrittenOf } else { Kind::Plain });
    }
    WORDS.binary_search(&name).is_ok().then_some(Kind::Word)
}

pub(super) fn is_runner(name: &[u8]) -> bool {
    RUNNERS.contains(&name)
}

pub(super) fn is_of_files(name: &[u8]) -> bool {
    OF_FILES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_in_order() {
        for list in [&PLAIN[..], &WRITTEN_OF, &WORDS] {
            assert!(list.windows(2).all(|pair| pair[0] < pair[1]));
        }
        assert!(WRITTEN_OF.iter().all(|name| PLAIN.contains(name)));
        assert_eq!((kind(b"whoami"), kind(b"cat"), kind(b"sort"), kind(b"kitten")), (Some(Kind::Plain), Some(Kind::WrittenOf), Some(Kind::Word), None));
    }
}
