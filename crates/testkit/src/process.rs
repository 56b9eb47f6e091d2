//! Child processes that do not outlive their owner.
//!
//! The death signal of the kernel (`PR_SET_PDEATHSIG`) would follow the *thread* that started the
//! child, and tests end their threads all the time. So each child is a process group with a second
//! member, a shell that reads from a pipe of ours: when the pipe closes, because we dropped it or
//! because this process is gone in whatever manner, it ends the group. The group is not the
//! terminal's, so Ctrl-C reaches the children only through their owner.

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::wait::try_wait_until;

/// `$1` is the signal that asks for a quick end, the rest is the command. The watcher keeps the
/// group's number from being reused, so what it kills can only be ours. The command takes over the
/// shell's own process: our child's id is the command's id.
const WATCHED: &str = r#"
exec 3<&0
last=$1; shift
(
  while read -r _; do :; done <&3
  if [ "$last" != KILL ]; then
    kill -s "$last" $$; n=0
    while [ $n -lt 100 ] && kill -0 $$; do sleep 0.05; n=$((n + 1)); done
  fi
  kill -KILL 0
) 2>/dev/null &
exec "$@" 3<&- </dev/null
"#;

/// What to start.
#[derive(Debug, Clone)]
pub struct Launch {
    name: String,
    command: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    user: Option<(u32, u32)>,
    last: Signal,
}

impl Launch {
    /// `program` under the name `name` in messages.
    pub fn new(name: impl Into<String>, program: impl AsRef<OsStr>) -> Launch {
        Launch {
            name: name.into(),
            command: vec![program.as_ref().into()],
            env: Vec::new(),
            user: None,
            last: Signal::SIGKILL,
        }
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Launch {
        self.command.push(arg.as_ref().into());
        self
    }

    /// More arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Launch {
        self.command.extend(args.into_iter().map(|arg| arg.as_ref().into()));
        self
    }

    /// One environment variable, besides the inherited ones.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Launch {
        self.env.push((key.as_ref().into(), value.as_ref().into()));
        self
    }

    /// Runs as another user and group; only root may.
    pub fn user(mut self, user: Option<(u32, u32)>) -> Launch {
        self.user = user;
        self
    }

    /// The signal sent when the owner is gone or drops the process, five seconds before SIGKILL;
    /// SIGKILL at once by default.
    pub fn last(mut self, signal: Signal) -> Launch {
        self.last = signal;
        self
    }

    /// Starts it, with its output appended to `log`.
    pub fn start(&self, log: &Path) -> Result<Process> {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("open {}", log.display()))?;
        let mut command = Command::new("sh");
        command
            .args(["-c", WATCHED, "sh"])
            .arg(self.last.as_str().trim_start_matches("SIG"))
            .args(&self.command);
        command.envs(self.env.iter().map(|(k, v)| (k, v)));
        command.stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(output).process_group(0);
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        let mut child = command.spawn().with_context(|| format!("start {}", self.name))?;
        let lifeline = child.stdin.take();
        Ok(Process { name: self.name.clone(), log: log.into(), child, lifeline })
    }
}

/// Runs a shell `script` with `argument` as `$1` when this process has dropped the result, or is
/// gone.
pub(crate) fn afterwards(script: &str, argument: &OsStr) -> Result<Process> {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("while read -r _; do :; done\n{script}")).arg("sh").arg(argument);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().context("start sh")?;
    let lifeline = child.stdin.take();
    Ok(Process { name: "sh".into(), log: PathBuf::new(), child, lifeline })
}

/// A running child; ended and reaped when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
    lifeline: Option<ChildStdin>,
}

impl Process {
    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The last lines of its output, for messages.
    pub fn tail(&self) -> String {
        let text = std::fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Sends `signal`, to the process itself and not to its group.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.id()).context("process id")?;
        kill(Pid::from_raw(id), signal).with_context(|| format!("{signal} to {}", self.name))
    }

    /// Its exit status, when it has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("wait for {}", self.name))
    }

    /// Waits for its end; an error with its last words after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        match try_wait_until(limit, || self.ended().transpose()) {
            Some(status) => status,
            None => bail!(
                "{} did not end within {limit:?}; its last words:\n{}",
                self.name,
                self.tail()
            ),
        }
    }

    /// Fails with its last words when it has ended.
    pub fn expect_running(&mut self) -> Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => {
                bail!("{} ended with {status}; its last words:\n{}", self.name, self.tail())
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        if let Err(error) = self.child.wait() {
            eprintln!("wait for {}: {error}", self.name);
        }
    }
}
