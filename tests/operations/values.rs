//! Values as templates of containers write them: with spaces around them, and lists with empty
//! items. Each rule is checked for every flag of its kind.

use crate::environment::with_environment;
use crate::flags::MACHINE;
use clap::{Arg, ArgAction, CommandFactory};
use switchboard::config::{Arguments, ConfigError, EarlyExit};

/// What surrounds a value.
const PADDINGS: [(&str, &str); 4] = [(" ", ""), ("", " "), (" ", "  "), ("\t", "\n")];

fn flags() -> Vec<Arg> {
    let mut command = Arguments::command();
    // The message of a failed assertion shows an argument, which panics unless the command is built.
    command.build();
    let arguments = command.get_arguments();
    arguments.filter(|arg| arg.get_env().is_some()).cloned().collect()
}

fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// Valid values of a flag: two for a list, otherwise one.
fn samples(arg: &Arg) -> Vec<String> {
    let names = arg.get_value_names().map(|names| names[0].as_str());
    let defaults = arg.get_default_values();
    let found = match (arg.get_long().unwrap(), names) {
        _ if !arg.get_action().takes_values() => vec!["yes"],
        (_, Some("COUNT" | "CONNECTIONS")) => vec!["100"],
        (_, Some("ADDRESS:PORT")) => vec!["127.0.0.1:0", "[::1]:0"],
        (_, Some("ORIGIN")) => vec!["https://a.example", "null"],
        (_, Some("NETWORK")) => vec!["10.0.0.0/8", "::1"],
        (_, Some("NAME")) => vec!["en", "de"],
        ("turn-url", Some("URL")) => vec!["turn:a.example", "turns:b.example:5349?transport=tcp"],
        ("ice-server", Some("URL")) => vec!["stun:a.example", "turn:b.example,user=u,password=p"],
        (_, Some("PATH")) => vec!["/etc/secret"],
        (_, Some("BYTES" | "DURATION" | "MICROSECONDS" | "KIND" | "BY" | "FORMAT" | "LEVEL")) => {
            vec![defaults[0].to_str().unwrap()]
        }
        (flag, name) => panic!("--{flag} has values of a new kind, {name:?}"),
    };
    assert_eq!(found.len() == 2, is_list(arg), "{arg}");
    found.into_iter().map(str::to_owned).collect()
}

/// The characters that separate the values of a list.
fn separators(arg: &Arg) -> &'static [&'static str] {
    match arg.get_long() {
        // Its values contain commas.
        Some("ice-server") => &[" "],
        Some("turn-url") => &[" ", ","],
        _ => &[","],
    }
}

/// Lists with empty items, which all have the same values as `one` and `two` alone.
fn lists(separator: &str, one: &str, two: &str) -> Vec<String> {
    let s = separator;
    let texts = [
        format!("{one}{s}{two}{s}"),
        format!("{s}{one}{s}{two}"),
        format!("{one}{s}{s}{two}"),
        format!("{one} {s} {two}"),
        format!(" {s}{one}{s} {s}{two} {s} "),
    ];
    texts.into_iter().collect()
}

/// What the program reads from one flag, or the error.
fn read(arg: &Arg, value: &str) -> Result<String, EarlyExit> {
    let word = format!("--{}={value}", arg.get_long().unwrap());
    Arguments::read(["switchboard", &word]).map(|arguments| format!("{arguments:?}"))
}

#[test]
fn spaces_around_a_value_are_not_part_of_it() {
    for arg in flags().iter().filter(|arg| arg.get_action().takes_values()) {
        for value in samples(arg) {
            let plain = read(arg, &value).unwrap();
            for (before, after) in PADDINGS {
                let padded = format!("{before}{value}{after}");
                assert_eq!(read(arg, &padded), Ok(plain.clone()), "{arg} {padded:?}");
            }
        }
    }
}

#[test]
fn empty_items_of_a_list_are_ignored() {
    for arg in flags().iter().filter(|arg| is_list(arg)) {
        let [one, two] = &samples(arg)[..] else { panic!("{arg}") };
        for separator in separators(arg) {
            let both = read(arg, &format!("{one}{separator}{two}")).unwrap();
            assert_ne!(Ok(both.clone()), read(arg, one), "{arg}");
            for text in lists(separator, one, two) {
                assert_eq!(read(arg, &text), Ok(both.clone()), "{arg} {text:?}");
            }
        }
    }
}

/// An empty list of `--allow-origin` would allow all origins: what the variable of a shell left
/// empty must not do that.
#[test]
fn a_list_flag_without_a_value_is_refused() {
    for arg in flags().iter().filter(|arg| is_list(arg)) {
        let flag = format!("--{}", arg.get_long().unwrap());
        for empty in ["", " ", separators(arg)[0], " , "] {
            // For `--ice-server` a comma is part of a value, which is not valid.
            let Err(EarlyExit::UsageError(line)) = read(arg, empty) else {
                panic!("{arg} {empty:?} is accepted");
            };
            assert!(line.contains(&flag) && !line.contains('\n'), "{line}");
        }
    }
}

#[test]
fn a_list_longer_than_its_bound_is_refused_by_name() {
    type NthValue = fn(usize) -> String;
    let lists: [(&str, usize, NthValue); 5] = [
        ("--listen", 64, |nth| format!("127.0.0.1:{nth}")),
        ("--admin-listen", 64, |nth| format!("127.0.0.1:{nth}")),
        ("--allow-origin", 256, |nth| format!("https://{nth}.example")),
        ("--trusted-proxy", 256, |nth| format!("10.0.{}.{}", nth / 256, nth % 256)),
        ("--stats-queue", 64, |nth| format!("q{nth}")),
    ];
    for (flag, most, value) in lists {
        let config = |count: usize| {
            let values: Vec<String> = (1..=count).map(value).collect();
            let words = ["switchboard", flag, &values.join(",")];
            Arguments::read(words).unwrap().validate(&MACHINE)
        };
        assert!(config(most).is_ok(), "{flag}");
        let expected = ConfigError::TooManyValues { flag, given: most + 1, max: most };
        assert_eq!(config(most + 1).err(), Some(expected));
    }
}

/// The line of the child process that shows the arguments.
fn arguments_line(variables: &[(String, String)]) -> String {
    let borrowed: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (&**name, &**value)).collect();
    let text = with_environment(&borrowed);
    let line = text.lines().find(|line| line.contains("Arguments {"));
    line.unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn variables_are_read_like_flags() {
    let name = |arg: &Arg| arg.get_env().unwrap().to_str().unwrap().to_owned();
    let set = |write: &dyn Fn(&Arg) -> String| -> Vec<(String, String)> {
        flags().iter().map(|arg| (name(arg), write(arg))).collect()
    };
    let plain = arguments_line(&set(&|arg| samples(arg).join(separators(arg)[0])));
    for (before, after) in PADDINGS {
        let padded = set(&|arg| {
            let value = samples(arg).join(separators(arg)[0]);
            format!("{before}{value}{after}")
        });
        assert_eq!(arguments_line(&padded), plain);
    }
    for nth in 0..lists(",", "a", "b").len() {
        let with_empty_items = set(&|arg| match &samples(arg)[..] {
            [one, two] => lists(separators(arg)[0], one, two).swap_remove(nth),
            values => values[0].clone(),
        });
        assert_eq!(arguments_line(&with_empty_items), plain);
    }
}

#[test]
fn a_list_variable_without_a_value_is_the_default() {
    let without = arguments_line(&[]);
    for blank in ["", " ", ",", " , ,"] {
        let lists = flags().into_iter().filter(is_list);
        let variables: Vec<(String, String)> = lists
            .map(|arg| (arg.get_env().unwrap().to_str().unwrap().to_owned(), blank.to_owned()))
            .collect();
        assert_eq!(arguments_line(&variables), without, "{blank:?}");
    }
}
