// SPDX-License-Identifier: GPL-2.0

//! Compares what bindgen has made of the kernel's headers with what the kernel says of itself (BTF). A program of the build, not
//! a part of the module:
//!
//! - `btf prototypes VMLINUX HOOKS BINDINGS...`: the functions that HOOKS names, one a line, and those that are called by
//!   address (`vserver_call_NAME`), are of the types that BINDINGS say.
//! - `btf layouts VMLINUX LAYOUTS`: all structures are of the sizes, and their fields at the places, that bindgen's layout
//!   tests say.
//!
//! VMLINUX is a kernel that is not compressed, or `/sys/kernel/btf/vmlinux`. All that differs is written out, then it fails.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::{self, Write as _},
    fs,
    process::ExitCode,
};

type Failure = Box<dyn std::error::Error>;

/// A type as both sides have it: without names of numbers, which are only other words for the same.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Type {
    Void,
    Bool,
    Number {
        bytes: u32,
        signed: bool,
    },
    Pointer {
        constant: bool,
        to: Box<Type>,
    },
    Array(u32, Box<Type>),
    /// A structure or a union.
    Named(String),
    Function(Vec<Type>, Box<Type>),
    Other(String),
}

/// As Rust writes it.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Void => write!(f, "()"),
            Self::Bool => write!(f, "bool"),
            Self::Number { bytes, signed } => {
                write!(f, "{}{}", if *signed { 'i' } else { 'u' }, bytes * 8)
            }
            Self::Pointer { constant, to } => match &**to {
                Self::Void => write!(f, "*{} c_void", word(*constant)),
                to => write!(f, "*{} {to}", word(*constant)),
            },
            Self::Array(length, of) => write!(f, "[{of}; {length}]"),
            Self::Named(name) | Self::Other(name) => write!(f, "{name}"),
            Self::Function(parameters, result) => {
                let parameters: Vec<String> = parameters.iter().map(ToString::to_string).collect();
                write!(f, "fn({})", parameters.join(", "))?;
                match **result {
                    Self::Void => Ok(()),
                    _ => write!(f, " -> {result}"),
                }
            }
        }
    }
}

fn word(constant: bool) -> &'static str {
    if constant {
        "const"
    } else {
        "mut"
    }
}

/// The kernel's own account of its types.
struct Btf {
    kinds: Vec<Kind>,
    functions: HashMap<String, Vec<u32>>,
    structures: HashMap<String, Vec<u32>>,
}

enum Kind {
    Number(Type),
    Pointer(u32),
    Array(u32, u32),
    Structure(Structure),
    Forward(String),
    Typedef(String, u32),
    Constant(u32),
    /// What says nothing about the type in Rust.
    Through(u32),
    Prototype(Vec<u32>, u32),
    Other,
}

struct Structure {
    name: String,
    size: u32,
    members: Vec<Member>,
}

struct Member {
    name: String,
    of: u32,
    bit: u32,
    is_bitfield: bool,
}

const MAGIC: [u8; 2] = [0x9f, 0xeb];

/// Reads numbers and texts, which are little-endian as on the only machine that the module is for.
struct Reader<'a>(&'a [u8], usize);

impl Reader<'_> {
    fn word(&mut self) -> Result<u32, Failure> {
        let bytes = self
            .0
            .get(self.1..self.1 + 4)
            .ok_or("the BTF ends too early")?;
        self.1 += 4;
        Ok(u32::from_le_bytes(bytes.try_into()?))
    }
}

fn number_at<const N: usize>(file: &[u8], at: usize) -> Result<usize, Failure> {
    let bytes = file.get(at..at + N).ok_or("the file ends too early")?;
    let value = bytes
        .iter()
        .rev()
        .fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
    Ok(usize::try_from(value)?)
}

/// The section `.BTF` of an ELF file; all of one that is BTF itself.
fn section(file: &[u8]) -> Result<&[u8], Failure> {
    if file.starts_with(&MAGIC) {
        return Ok(file);
    }
    if !file.starts_with(b"\x7fELF") {
        return Err("neither ELF nor BTF".into());
    }
    let headers = number_at::<8>(file, 0x28)?;
    let (each, count) = (number_at::<2>(file, 0x3a)?, number_at::<2>(file, 0x3c)?);
    let of = |index: usize, field: usize| number_at::<8>(file, headers + index * each + field);
    let names = of(number_at::<2>(file, 0x3e)?, 0x18)?;
    for index in 0..count {
        let name = names + number_at::<4>(file, headers + index * each)?;
        if file
            .get(name..)
            .is_some_and(|rest| rest.starts_with(b".BTF\0"))
        {
            let (start, size) = (of(index, 0x18)?, of(index, 0x20)?);
            return file
                .get(start..start + size)
                .ok_or_else(|| "its .BTF is cut off".into());
        }
    }
    Err("no section .BTF".into())
}

impl Btf {
    fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        if !bytes.starts_with(&MAGIC) {
            return Err("no BTF".into());
        }
        let mut head = Reader(bytes, 4);
        let start = head.word()? as usize;
        let (types, length) = (head.word()? as usize, head.word()? as usize);
        let texts = start + head.word()? as usize;
        let text = |at: u32| {
            let rest = bytes.get(texts + at as usize..).unwrap_or_default();
            let end = rest.iter().position(|byte| *byte == 0).unwrap_or(0);
            String::from_utf8_lossy(&rest[..end]).into_owned()
        };
        let mut this = Self {
            kinds: vec![Kind::Number(Type::Void)],
            functions: HashMap::new(),
            structures: HashMap::new(),
        };
        let mut at = Reader(bytes, start + types);
        while at.1 < start + types + length {
            let (name, info, size) = (text(at.word()?), at.word()?, at.word()?);
            let (count, flag) = (info & 0xffff, info >> 31 == 1);
            let id = u32::try_from(this.kinds.len())?;
            let kind = match (info >> 24) & 0x1f {
                1 => {
                    let encoding = (at.word()? >> 24) & 0xf;
                    Kind::Number(match encoding {
                        4 => Type::Bool,
                        _ => Type::Number {
                            bytes: size,
                            signed: encoding & 1 == 1,
                        },
                    })
                }
                2 => Kind::Pointer(size),
                3 => {
                    let of = at.word()?;
                    at.word()?;
                    Kind::Array(at.word()?, of)
                }
                4 | 5 => {
                    let mut members = Vec::new();
                    for _ in 0..count {
                        let (name, of, place) = (text(at.word()?), at.word()?, at.word()?);
                        members.push(Member {
                            name,
                            of,
                            bit: if flag { place & 0xff_ffff } else { place },
                            is_bitfield: flag && place >> 24 != 0,
                        });
                    }
                    this.structures.entry(name.clone()).or_default().push(id);
                    Kind::Structure(Structure {
                        name,
                        size,
                        members,
                    })
                }
                // An enum, of four or of eight bytes.
                6 | 19 => {
                    let words = if (info >> 24) & 0x1f == 6 { 2 } else { 3 };
                    at.1 += 4 * words * count as usize;
                    Kind::Number(Type::Number {
                        bytes: size,
                        signed: flag,
                    })
                }
                7 => Kind::Forward(name),
                8 => Kind::Typedef(name, size),
                10 => Kind::Constant(size),
                9 | 11 | 18 => Kind::Through(size),
                12 => {
                    this.functions.entry(name).or_default().push(size);
                    Kind::Other
                }
                13 => {
                    let mut parameters = Vec::new();
                    for _ in 0..count {
                        at.word()?;
                        parameters.push(at.word()?);
                    }
                    Kind::Prototype(parameters, size)
                }
                14 | 17 => {
                    at.word()?;
                    Kind::Other
                }
                15 => {
                    at.1 += 12 * count as usize;
                    Kind::Other
                }
                16 => Kind::Other,
                other => {
                    return Err(format!("BTF of a kind {other}, which is not known here").into())
                }
            };
            this.kinds.push(kind);
        }
        Ok(this)
    }

    fn kind(&self, id: u32) -> &Kind {
        self.kinds.get(id as usize).unwrap_or(&Kind::Other)
    }

    /// What is behind names and qualifiers, and the name of a typedef that it has no other name than.
    fn resolved(&self, mut id: u32) -> (u32, Option<&str>) {
        let mut name = None;
        loop {
            match self.kind(id) {
                Kind::Typedef(typedef, of) => (id, name) = (*of, Some(typedef.as_str())),
                Kind::Constant(of) | Kind::Through(of) => id = *of,
                _ => return (id, name),
            }
        }
    }

    /// Whether it is constant, be it by a typedef.
    fn is_constant(&self, mut id: u32) -> bool {
        loop {
            match self.kind(id) {
                Kind::Constant(_) => return true,
                Kind::Typedef(_, of) | Kind::Through(of) => id = *of,
                _ => return false,
            }
        }
    }

    fn of(&self, id: u32) -> Type {
        let (resolved, typedef) = self.resolved(id);
        match self.kind(resolved) {
            Kind::Number(number) => number.clone(),
            Kind::Pointer(to) => match self.of(*to) {
                // In Rust a pointer to a function is one by itself.
                function @ Type::Function(..) => function,
                of => Type::Pointer {
                    constant: self.is_constant(*to),
                    to: Box::new(of),
                },
            },
            Kind::Array(length, of) => Type::Array(*length, Box::new(self.of(*of))),
            Kind::Structure(structure) if structure.name.is_empty() => {
                Type::Named(typedef.unwrap_or("{unnamed}").into())
            }
            Kind::Structure(Structure { name, .. }) | Kind::Forward(name) => {
                Type::Named(name.clone())
            }
            Kind::Prototype(parameters, result) => Type::Function(
                parameters.iter().map(|one| self.of(*one)).collect(),
                Box::new(self.of(*result)),
            ),
            _ => Type::Other("{unknown}".into()),
        }
    }
}

/// What is known from files that bindgen has written.
#[derive(Default)]
struct Bindings {
    aliases: HashMap<String, Vec<String>>,
    functions: BTreeMap<String, Vec<String>>,
    /// The fields of structures with their types.
    structures: BTreeMap<String, Vec<(String, Vec<String>)>>,
    sizes: BTreeMap<String, u32>,
    offsets: HashMap<(String, String), u32>,
}

/// Words, numbers, texts and single characters.
fn tokens(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = if first == '"' {
            rest[1..].find('"').map_or(rest.len(), |end| end + 2)
        } else if first.is_alphanumeric() || first == '_' {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len())
        } else if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(length);
        if !token.trim().is_empty() && !token.starts_with("//") {
            found.push(token.to_string());
        }
        rest = after;
    }
    found
}

/// From behind an opening bracket: the parts between commas, and how many tokens they are with the closing one.
fn parts(tokens: &[String]) -> (Vec<&[String]>, usize) {
    let (mut depth, mut from) = (0, 0);
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let after_arrow = at > 0 && tokens[at - 1] == "-";
        match token.as_str() {
            "(" | "[" | "{" | "<" => depth += 1,
            ">" if after_arrow => (),
            ")" | "]" | "}" | ">" if depth > 0 => depth -= 1,
            ")" | "]" | "}" | ">" => {
                if at > from {
                    found.push(&tokens[from..at]);
                }
                return (found, at + 1);
            }
            "," if depth == 0 => {
                found.push(&tokens[from..at]);
                from = at + 1;
            }
            _ => (),
        }
    }
    (found, tokens.len())
}

fn position(tokens: &[String], wanted: &str) -> Option<usize> {
    tokens.iter().position(|token| token == wanted)
}

impl Bindings {
    fn read(&mut self, source: &str) {
        let tokens = tokens(source);
        let mut at = 0;
        while at + 2 < tokens.len() {
            let rest = &tokens[at + 2..];
            let name = &rest[0];
            match (tokens[at].as_str(), tokens[at + 1].as_str()) {
                ("pub", "type") => {
                    let end = position(rest, ";").unwrap_or(0);
                    let of = rest.get(2..end).unwrap_or_default().to_vec();
                    self.aliases.entry(name.clone()).or_insert(of);
                }
                ("pub", "fn") if rest.get(1).is_some_and(|token| token == "(") => {
                    // Those with a body are functions of bindgen's own.
                    let end = rest.iter().position(|token| token == ";" || token == "{");
                    if let Some(end) = end.filter(|end| rest[*end] == ";") {
                        self.functions
                            .entry(name.clone())
                            .or_insert_with(|| rest[1..end].to_vec());
                    }
                }
                ("pub", "struct" | "union") => {
                    let open = rest.iter().position(|token| token == "{" || token == ";");
                    let fields = open.filter(|open| rest[*open] == "{").map(|open| {
                        let (fields, _) = parts(&rest[open + 1..]);
                        fields
                            .into_iter()
                            .filter_map(|field| {
                                let colon = position(field, ":")?;
                                Some((field[colon - 1].clone(), field[colon + 1..].to_vec()))
                            })
                            .collect()
                    });
                    self.structures
                        .entry(name.clone())
                        .or_insert_with(|| fields.unwrap_or_default());
                }
                _ => (),
            }
            self.test(&tokens[at..]);
            at += 1;
        }
    }

    /// One of bindgen's tests: `["Size of a"][::core::mem::size_of::<a>() - 8usize];`.
    fn test(&mut self, tokens: &[String]) {
        if tokens[0] != "[" || !tokens[1].starts_with('"') {
            return;
        }
        let what = tokens[1].trim_matches('"');
        let value = position(tokens, ";").and_then(|end| tokens.get(end.checked_sub(2)?));
        let Some(value) = value.and_then(|value| value.strip_suffix("usize")?.parse().ok()) else {
            return;
        };
        if let Some(name) = what.strip_prefix("Size of ") {
            self.sizes.insert(name.into(), value);
        } else if let Some((name, field)) = what
            .strip_prefix("Offset of field: ")
            .and_then(|rest| rest.split_once("::"))
        {
            self.offsets.insert((name.into(), field.into()), value);
        }
    }

    fn function(&self, name: &str) -> Option<Type> {
        self.functions
            .get(name)
            .map(|tokens| self.signature(tokens))
    }

    /// `(a: A, b: B) -> C`.
    fn signature(&self, tokens: &[String]) -> Type {
        let (parameters, length) = parts(&tokens[1..]);
        let of_parameter = |tokens: &[String]| match tokens {
            [_, colon, of @ ..] if colon == ":" => self.of(of),
            [dot, ..] if dot == "." => Type::Void,
            of => self.of(of),
        };
        let result = match tokens.get(1 + length..).unwrap_or_default() {
            [dash, arrow, of @ ..] if dash == "-" && arrow == ">" => self.of(of),
            _ => Type::Void,
        };
        Type::Function(
            parameters.into_iter().map(of_parameter).collect(),
            Box::new(result),
        )
    }

    fn of(&self, tokens: &[String]) -> Type {
        let number = |bytes, signed| Type::Number { bytes, signed };
        let Some(first) = tokens.first() else {
            return Type::Other("{nothing}".into());
        };
        if first == "*" {
            return Type::Pointer {
                constant: tokens.get(1).is_some_and(|token| token == "const"),
                to: Box::new(self.of(tokens.get(2..).unwrap_or_default())),
            };
        }
        if first == "[" {
            let end = position(tokens, ";").unwrap_or(1);
            let last = tokens.iter().rposition(|token| token == ";").unwrap_or(end);
            let length = tokens
                .get(last + 1)
                .and_then(|text| text.strip_suffix("usize").unwrap_or(text).parse().ok());
            return Type::Array(length.unwrap_or(0), Box::new(self.of(&tokens[1..last])));
        }
        if first == "!" {
            return Type::Void;
        }
        if let Some(function) = position(tokens, "fn") {
            let mut signature = &tokens[function + 1..];
            if position(tokens, "Option").is_some_and(|option| option < function) {
                // What it is in ends with a bracket, on a line of its own after a comma.
                for end in [">", ","] {
                    signature = match signature {
                        [before @ .., last] if last == end => before,
                        whole => whole,
                    };
                }
            }
            return self.signature(signature);
        }
        // A name, maybe with where it is from; or one with something in angle brackets.
        let plain = position(tokens, "<").unwrap_or(tokens.len());
        let name = &tokens[plain - 1];
        if let Some(of) = self.aliases.get(name).filter(|of| of.as_slice() != tokens) {
            return self.of(of);
        }
        match name.as_str() {
            "c_void" => Type::Void,
            "bool" => Type::Bool,
            "u8" | "c_uchar" | "c_char" => number(1, false),
            "i8" | "c_schar" => number(1, true),
            "u16" | "c_ushort" => number(2, false),
            "i16" | "c_short" => number(2, true),
            "u32" | "c_uint" => number(4, false),
            "i32" | "c_int" => number(4, true),
            "u64" | "usize" | "c_ulong" | "c_ulonglong" => number(8, false),
            "i64" | "isize" | "c_long" | "c_longlong" => number(8, true),
            _ => Type::Named(name.clone()),
        }
    }
}

/// What has been compared, and what was found.
#[derive(Default)]
struct Report {
    good: usize,
    /// Not in BTF.
    unknown: BTreeSet<String>,
    different: String,
}

impl Report {
    fn prototype(&mut self, btf: &Btf, name: &str, own: &Type) {
        let Some(found) = btf.functions.get(name) else {
            self.unknown.insert(name.into());
            return;
        };
        let kernel: Vec<Type> = found.iter().map(|id| btf.of(*id)).collect();
        if kernel.contains(own) {
            self.good += 1;
        } else {
            let kernel: Vec<String> = kernel.iter().map(ToString::to_string).collect();
            let _ = writeln!(
                self.different,
                "{name}: the kernel has {}, the module {own}",
                kernel.join(" and ")
            );
        }
    }
}

fn prototypes(btf: &Btf, hooks: &str, bindings: &Bindings) -> Result<(), Failure> {
    let mut report = Report::default();
    let mut count = 0;
    for name in hooks.split_whitespace() {
        count += 1;
        match bindings.function(name) {
            Some(own) => report.prototype(btf, name, &own),
            None => writeln!(report.different, "{name}: no header declares it")?,
        }
    }
    if count == 0 {
        return Err("there are no hooks: is it known how the object names them?".into());
    }
    for name in &report.unknown {
        writeln!(
            report.different,
            "{name}: the kernel has no such function that keeps its arguments"
        )?;
    }
    let hooked = std::mem::take(&mut report.good);
    report.unknown.clear();
    for name in bindings.functions.keys() {
        if let Some(called) = name.strip_prefix("vserver_call_") {
            let own = bindings.function(name).unwrap_or(Type::Void);
            report.prototype(btf, called, &own);
        }
    }
    println!(
        "btf: {hooked} hooked functions and {} that are called by address are as declared; BTF does not have {:?}",
        report.good, report.unknown
    );
    if !report.different.is_empty() {
        return Err(format!(
            "functions of this kernel are not as hooked:\n{}",
            report.different
        )
        .into());
    }
    Ok(())
}

/// Compares structures, and those without a name in them.
struct Layouts<'a> {
    btf: &'a Btf,
    bindings: &'a Bindings,
}

impl Layouts<'_> {
    /// How many offsets are the same; or what is not.
    fn compare(&self, name: &str, structure: &Structure, path: &str) -> Result<usize, String> {
        let mut count = 0;
        if let Some(size) = self.bindings.sizes.get(name) {
            if *size != structure.size {
                return Err(format!(
                    "{path}: {} bytes in the kernel, {size} in the module",
                    structure.size
                ));
            }
        }
        let mut unnamed = structure.members.iter().filter(|member| {
            member.name.is_empty()
                && matches!(
                    self.btf.kind(self.btf.resolved(member.of).0),
                    Kind::Structure(_)
                )
        });
        for (field, of) in self.bindings.structures.get(name).into_iter().flatten() {
            let member = if field.starts_with("__bindgen_anon_") {
                unnamed.next()
            } else {
                let plain = field.strip_suffix('_').unwrap_or(field);
                let mut members = structure.members.iter();
                members.find(|member| member.name == *field || member.name == plain)
            };
            let offset = self
                .bindings
                .offsets
                .get(&(name.to_string(), field.clone()));
            // Bit fields are several in a field of bindgen's, which has no test.
            let (Some(offset), Some(member)) = (offset, member) else {
                if offset.is_some() && !field.starts_with("__") && !field.starts_with('_') {
                    return Err(format!("{path}::{field}: the kernel has no such field"));
                }
                continue;
            };
            if member.is_bitfield || member.bit != offset * 8 {
                return Err(format!(
                    "{path}::{field}: at bit {} in the kernel, at byte {offset} in the module",
                    member.bit
                ));
            }
            count += 1;
            let inner = of
                .iter()
                .rev()
                .find(|token| token.contains("__bindgen_ty_"));
            let mut id = self.btf.resolved(member.of).0;
            while let Kind::Array(_, of) = self.btf.kind(id) {
                id = self.btf.resolved(*of).0;
            }
            if let (Some(inner), Kind::Structure(structure)) = (inner, self.btf.kind(id)) {
                count += self.compare(inner, structure, &format!("{path}::{field}"))?;
            }
        }
        Ok(count)
    }
}

fn layouts(btf: &Btf, bindings: &Bindings) -> Result<(), Failure> {
    let layouts = Layouts { btf, bindings };
    let (mut sizes, mut offsets) = (0, 0);
    let (mut unknown, mut different) = (0, String::new());
    for name in bindings.sizes.keys() {
        if name.contains("__bindgen_ty_") {
            continue;
        }
        let mut candidates = btf.structures.get(name).cloned().unwrap_or_default();
        for (id, kind) in btf.kinds.iter().enumerate() {
            if matches!(kind, Kind::Typedef(typedef, _) if typedef == name) {
                candidates.push(btf.resolved(u32::try_from(id)?).0);
            }
        }
        let mut worst = None;
        let mut is_good = false;
        for id in &candidates {
            if let Kind::Structure(structure) = btf.kind(*id) {
                match layouts.compare(name, structure, name) {
                    Ok(count) => {
                        offsets += count;
                        is_good = true;
                        break;
                    }
                    Err(difference) => worst = worst.or(Some(difference)),
                }
            }
        }
        match worst {
            _ if is_good => sizes += 1,
            Some(difference) => writeln!(different, "{difference}")?,
            None => unknown += 1,
        }
    }
    println!("btf: {sizes} layouts with {offsets} offsets are the kernel's; {unknown} more are not in its BTF");
    if !different.is_empty() {
        return Err(
            format!("layouts of this kernel are not those of its headers:\n{different}").into(),
        );
    }
    if sizes == 0 {
        return Err("there is no layout to compare".into());
    }
    Ok(())
}

fn run(arguments: &[String]) -> Result<(), Failure> {
    let read = |path: &String| {
        fs::read_to_string(path).map_err(|error| format!("{path} cannot be read: {error}"))
    };
    let [verb, vmlinux, rest @ ..] = arguments else {
        return Err(
            "usage: btf prototypes VMLINUX HOOKS BINDINGS... | btf layouts VMLINUX LAYOUTS".into(),
        );
    };
    let file = fs::read(vmlinux).map_err(|error| format!("{vmlinux} cannot be read: {error}"))?;
    let btf = Btf::parse(section(&file).map_err(|error| format!("{vmlinux}: {error}"))?)?;
    let (hooks, files) = match (verb.as_str(), rest) {
        ("prototypes", [hooks, files @ ..]) => (Some(read(hooks)?), files),
        ("layouts", files) => (None, files),
        _ => return Err(format!("there is no {verb}").into()),
    };
    let mut bindings = Bindings::default();
    for file in files {
        bindings.read(&read(file)?);
    }
    match hooks {
        Some(hooks) => prototypes(&btf, &hooks, &bindings),
        None => layouts(&btf, &bindings),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: vserver: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BTF of: `struct a { int b; struct { char c; }; };` and `int f(const struct a *g)`.
    fn btf() -> Btf {
        let texts = b"\0int\0a\0b\0c\0f\0g\0char\0";
        let (int, a, b, c, f, g, char) = (1, 5, 7, 9, 11, 13, 15);
        let types: &[u32] = &[
            int,
            1 << 24,
            4,
            (1 << 24) | 32, // 1: int
            char,
            1 << 24,
            1,
            8, // 2: char
            0,
            (4 << 24) | 1,
            1,
            c,
            2,
            0, // 3: the structure without a name
            a,
            (4 << 24) | 2,
            8,
            b,
            1,
            0,
            0,
            3,
            32, // 4: a
            0,
            10 << 24,
            4, // 5: const
            0,
            2 << 24,
            5, // 6: pointer
            0,
            (13 << 24) | 1,
            1,
            g,
            6, // 7: prototype
            f,
            12 << 24,
            7, // 8: f
        ];
        let length = u32::try_from(types.len() * 4).expect("short");
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        for word in [
            24,
            0,
            length,
            length,
            u32::try_from(texts.len()).expect("short"),
        ] {
            bytes.extend(word.to_le_bytes());
        }
        for word in types {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(texts);
        Btf::parse(section(&bytes).expect("BTF")).expect("types")
    }

    fn bindings(source: &str) -> Bindings {
        let mut bindings = Bindings::default();
        bindings.read(source);
        bindings
    }

    #[test]
    fn functions() {
        let is_so = |source: &str| {
            prototypes(&btf(), "f\n", &bindings(source)).map_err(|error| error.to_string())
        };
        assert!(
            is_so("pub type t = ffi::c_int; extern \"C\" { pub fn f(g: *const a) -> t; }").is_ok()
        );
        let error = is_so("pub fn f(g: *mut a) -> ffi::c_int;").expect_err("not constant");
        assert!(
            error.contains("f: the kernel has fn(*const a) -> i32, the module fn(*mut a) -> i32")
        );
        assert!(is_so("pub fn f(g: *const a, h: bool) -> ffi::c_int;").is_err());
        assert!(is_so("pub fn f(g: *const a);").is_err());
        assert!(is_so("").is_err());
        assert!(prototypes(&btf(), "h", &bindings("pub fn h();")).is_err());
        assert!(prototypes(&btf(), "", &bindings("")).is_err());
    }

    #[test]
    fn places() {
        let source = |size: u32, inner: u32| {
            format!(
                "pub struct a {{ pub b: ffi::c_int, pub __bindgen_anon_1: a__bindgen_ty_1, }}
                 pub struct a__bindgen_ty_1 {{ pub c: u8, }}
                 [\"Size of a\"][::core::mem::size_of::<a>() - {size}usize];
                 [\"Offset of field: a::b\"][::core::mem::offset_of!(a, b) - 0usize];
                 [\"Offset of field: a::__bindgen_anon_1\"][::core::mem::offset_of!(a, __bindgen_anon_1) - 4usize];
                 [\"Offset of field: a__bindgen_ty_1::c\"][::core::mem::offset_of!(a__bindgen_ty_1, c) - {inner}usize];"
            )
        };
        assert!(layouts(&btf(), &bindings(&source(8, 0))).is_ok());
        let error = layouts(&btf(), &bindings(&source(12, 0))).expect_err("a size");
        assert!(error
            .to_string()
            .contains("a: 8 bytes in the kernel, 12 in the module"));
        let error = layouts(&btf(), &bindings(&source(8, 1))).expect_err("an offset");
        assert!(error
            .to_string()
            .contains("a::__bindgen_anon_1::c: at bit 0"));
    }
}
