//! The command line: what a person may ask for, and how the driver calls itself.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use crate::{
    figure::{Contender, Figure, Scale, Skip},
    figures, go, harness, kept,
    machine::Machine,
    report,
    servers::{self, Kind},
};

pub const HELP: &str = "\
Side-by-side benchmarks of greenloom and its peers.

usage: bench/run [figure...] [options]
       bench/run plot SVG TITLE RESULTS...

  figure...          which figures to measure; all of them if none is named
  --quick            short measurements, two repetitions: does it run, not how fast
  --repetitions N    how often each contender of a figure is measured
  --results FILE     where the raw numbers go
  --plot FILE        where the plot goes
  --list             name the figures and their contenders
  --help             this text
  plot               draws the raw numbers in some files, of this program or of Python's comparisons

A full run of all figures takes less than ten minutes on a quiet machine of two cores, and renews results/latest.json
and the plot in the project's docs. Any other run writes beside the program instead, unless told where.";

pub enum Command {
    Run(Options),
    List,
    Help,
    /// Where it goes, its title, and the files with raw numbers.
    Plot(PathBuf, String, Vec<PathBuf>),
    /// One contender, once, in this process.
    Measure(&'static Figure, &'static Contender, Scale),
    /// An echo server on so many threads.
    Serve(Kind, usize),
}

pub struct Options {
    figures: Vec<&'static Figure>,
    scale: Scale,
    repetitions: Option<usize>,
    results: Option<PathBuf>,
    plot: Option<PathBuf>,
}

pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Command, String> {
    let arguments: Vec<String> = arguments.collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["measure", figure, contender, scale] => {
            let figure = figure_named(figure)?;
            let contender = figure.contender(contender).ok_or("no such contender")?;
            Ok(Command::Measure(figure, contender, Scale { quick: scale == "quick" }))
        }
        ["serve", kind, threads] => {
            Ok(Command::Serve(Kind::named(kind).ok_or("no such server")?, number("the threads of a server", threads)?))
        }
        ["plot", svg, title, ref results @ ..] if !results.is_empty() => {
            Ok(Command::Plot(svg.into(), title.to_owned(), results.iter().map(PathBuf::from).collect()))
        }
        _ => parse_options(arguments.into_iter()),
    }
}

fn parse_options(mut arguments: impl Iterator<Item = String>) -> Result<Command, String> {
    let mut options =
        Options { figures: Vec::new(), scale: Scale { quick: false }, repetitions: None, results: None, plot: None };
    while let Some(argument) = arguments.next() {
        let mut operand = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--help" | "-h" => return Ok(Command::Help),
            "--list" => return Ok(Command::List),
            "--quick" => options.scale.quick = true,
            "--repetitions" => options.repetitions = Some(number("--repetitions", &operand()?)?),
            "--results" => options.results = Some(operand()?.into()),
            "--plot" => options.plot = Some(operand()?.into()),
            option if option.starts_with('-') => return Err(format!("unknown option {option}")),
            figure => options.figures.push(figure_named(figure)?),
        }
    }
    Ok(Command::Run(options))
}

fn figure_named(name: &str) -> Result<&'static Figure, String> {
    figures::named(name).ok_or_else(|| {
        let known: Vec<_> = figures::ALL.iter().map(|figure| figure.name).collect();
        format!("no figure {name:?}; there are {}", known.join(", "))
    })
}

fn number(what: &str, text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&number| number > 0).ok_or(format!("{what}: {text:?} is not a number from 1"))
}

pub fn run(command: Command) -> ExitCode {
    let outcome = match command {
        Command::Run(options) => run_figures(&options),
        Command::List => {
            list();
            Ok(ExitCode::SUCCESS)
        }
        Command::Help => {
            println!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        Command::Plot(svg, title, results) => draw(&svg, &title, &results).map(|()| ExitCode::SUCCESS),
        Command::Measure(figure, contender, scale) => {
            harness::measure_here(figure, contender, scale).map(|()| ExitCode::SUCCESS)
        }
        Command::Serve(kind, threads) => servers::serve(kind, threads).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("bench: {error}");
        ExitCode::FAILURE
    })
}

fn list() {
    for figure in figures::ALL {
        let contenders: Vec<_> = figure.contenders.iter().map(|contender| contender.name).collect();
        println!("{:<10} {}\n           {}", figure.name, figure.title, contenders.join(" | "));
    }
}

fn run_figures(options: &Options) -> io::Result<ExitCode> {
    let start = Instant::now();
    let go = go::build();
    if let Err(Skip::Absent(reason) | Skip::Failed(reason)) = &go {
        println!("Go is left out: {reason}");
    }
    let machine = Machine::here(go.ok());
    println!("{}, {} cores, {}, {}, load {}", machine.cpu, machine.cores, machine.kernel, machine.rustc, machine.load);

    let all = options.figures.is_empty();
    let chosen = if all { figures::ALL.to_vec() } else { options.figures.clone() };
    let mut outcomes = Vec::new();
    let mut verdicts = Vec::new();
    for figure in chosen {
        let repetitions =
            options.repetitions.unwrap_or(options.scale.pick(figure.repetitions, figure.repetitions.min(2)));
        let outcome = harness::run(figure, options.scale, repetitions, start + TIME_FOR_MORE);
        report::print_figure(&outcome);
        verdicts.extend(report::judge(&outcome));
        outcomes.push(outcome);
    }
    report::print_verdicts(&verdicts);

    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scratch = here.join("target/bench");
    let lasting = all && !options.scale.quick;
    let output = |given: &Option<PathBuf>, kept: PathBuf, name| match given {
        Some(path) => path.clone(),
        None if lasting => kept,
        None => scratch.join(name),
    };
    let results = output(&options.results, here.join("results/latest.json"), "latest.json");
    let plot = output(&options.plot, here.with_file_name("docs").join("bench.svg"), "bench.svg");
    create_folder_of(&results)?;
    report::write_json(&results, &machine, options.scale.quick, &outcomes, &verdicts)?;
    println!("\n{} s; raw numbers in {}", start.elapsed().as_secs(), results.display());
    draw(&plot, "greenloom beside its peers", &[results])?;
    Ok(if report::anyone_failed(&outcomes) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// How long disturbed measurements are taken again, so that a run of all figures stays below ten minutes.
const TIME_FOR_MORE: Duration = Duration::from_secs(240);

fn draw(svg: &Path, title: &str, results: &[PathBuf]) -> io::Result<()> {
    let plot = kept::plot(title, results)?;
    create_folder_of(svg)?;
    fs::write(svg, plot.to_string())?;
    println!("plot of {} figures in {}", plot.panels.len(), svg.display());
    Ok(())
}

fn create_folder_of(file: &Path) -> io::Result<()> {
    file.parent().map_or(Ok(()), fs::create_dir_all)
}
