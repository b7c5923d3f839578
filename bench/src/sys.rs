//! What the kernel is asked for: pinning to cores, the limit of open files, readiness, memory and CPU time of a
//! process.

use std::{fs, hint::black_box, io, process::Command, time::Duration};

use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, Event},
    },
    fd::OwnedFd,
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CpuSet, sched_setaffinity},
};

/// This very program again, even if its file has been replaced by a newer build meanwhile.
pub fn this_program() -> Command {
    Command::new("/proc/self/exe")
}

/// Lets the calling thread, and threads and processes it starts later, run on these cores only.
pub fn pin(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core);
    }
    Ok(sched_setaffinity(None, &set)?)
}

/// Raises the soft limit of open files to the hard one, and returns it.
pub fn raise_open_files() -> io::Result<u64> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(maximum.unwrap_or(u64::MAX))
}

/// Replaces `events` by what is ready, which may be nothing: after `timeout`, or when a signal or a tracer interrupts.
pub fn wait(epoll: &OwnedFd, events: &mut Vec<Event>, timeout: Option<&Timespec>) -> io::Result<()> {
    events.clear();
    match epoll::wait(epoll, spare_capacity(events), timeout) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Resident memory and page tables of this process, in bytes.
#[derive(Clone, Copy)]
pub struct Memory {
    pub resident: f64,
    pub page_tables: f64,
}

/// What this process holds now.
pub fn memory() -> io::Result<Memory> {
    let status = fs::read_to_string("/proc/self/status")?;
    Ok(Memory { resident: kibibytes(&status, "VmRSS:")? * 1024.0, page_tables: kibibytes(&status, "VmPTE:")? * 1024.0 })
}

/// Touches this much memory and gives it back.
///
/// The host of a virtual machine may take free memory away, and then each page costs it dear at its next touch. What is
/// allocated right after this call meets pages that the machine has.
pub fn warm_memory(bytes: usize) {
    let mut memory = vec![0_u8; bytes];
    memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    black_box(&memory);
}

fn kibibytes(status: &str, field: &str) -> io::Result<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok());
    number.ok_or_else(|| io::Error::other(format!("no {field} in the status of this process")))
}

/// CPU time that the live threads of process `pid` have used so far.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let mut sum = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let stat = fs::read_to_string(thread?.path().join("schedstat"))?;
        let on_cpu = stat.split_whitespace().next().and_then(|ns| ns.parse().ok());
        sum += Duration::from_nanos(on_cpu.ok_or_else(|| io::Error::other("no CPU time in schedstat"))?);
    }
    Ok(sum)
}
