//! Compiles the proto in pure Rust (protox), so that nobody needs to install protoc, and `docs/openapi.yaml` to JSON.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs, mem};

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value};

const SERVICES: [&str; 2] = ["proto/identity/v1/identity_service.proto", "proto/identity/v1/graph_service.proto"];

/// The details of errors. No message refers to them, but without their descriptors a tool shows bytes.
const DETAILS: [&str; 1] = ["proto/google/rpc/error_details.proto"];

/// Services for the tests of the gateway. The first has every form of an http rule.
const TESTED: [(&str, &str); 3] = [
    ("tests/transport/forms.proto", "forms_descriptor.bin"),
    ("tests/transport/scoped.proto", "scoped_descriptor.bin"),
    ("tests/transport/hidden.proto", "hidden_descriptor.bin"),
];

/// The description of the JSON API.
const OPENAPI: &str = "docs/openapi.yaml";

/// How [`OPENAPI`] spells the id of the primary.
const PRIMARY_ID: &str = "primaryContactId";

/// The documents that are made of [`OPENAPI`], one for each value of `PRIMARY_ID_FIELD`, with the fields of the id.
const SPELLINGS: [(&str, &[&str]); 3] = [
    ("openapi_correct.json", &[PRIMARY_ID]),
    ("openapi_legacy.json", &["primaryContatctId"]),
    ("openapi_both.json", &[PRIMARY_ID, "primaryContatctId"]),
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed={OPENAPI}");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    compile_proto(&out)?;
    compile_tested(&out)?;
    write_openapi(&out)
}

fn compile_proto(out: &Path) -> Result<(), Box<dyn Error>> {
    let mut compiler = protox::Compiler::new(["proto"])?;
    // Comments and imports go along: reflection serves this very set.
    compiler.include_source_info(true).include_imports(true).open_files(SERVICES)?.open_files(DETAILS)?;

    // Encoded by protox, not through prost, which would drop the `google.api.http` options.
    fs::write(out.join("identity_descriptor.bin"), compiler.encode_file_descriptor_set())?;

    tonic_prost_build::configure()
        .extern_path(".google.rpc", "::tonic_types::pb")
        // The types of prost-types, which prost-reflect has: no dependency of this package's own.
        .compile_well_known_types(true)
        .extern_path(".google.protobuf", "::prost_reflect::prost_types")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// Writes the descriptors of [`TESTED`], if the tests are there: the image is built without them.
fn compile_tested(out: &Path) -> Result<(), Box<dyn Error>> {
    for (proto, name) in TESTED.iter().filter(|(proto, _)| Path::new(proto).exists()) {
        println!("cargo:rerun-if-changed={proto}");
        let mut compiler = protox::Compiler::new(["tests/transport", "proto"])?;
        compiler.include_imports(true).open_file(proto)?;
        fs::write(out.join(name), compiler.encode_file_descriptor_set())?;
    }
    Ok(())
}

/// Writes [`OPENAPI`] as JSON, in each spelling. So the service needs no parser of YAML.
fn write_openapi(out: &Path) -> Result<(), Box<dyn Error>> {
    let text = fs::read_to_string(OPENAPI)?;
    let [document] = &Yaml::load_from_str(&text)?[..] else { return Err("it must be one YAML document".into()) };
    let document = json(document)?;
    for (name, fields) in SPELLINGS {
        fs::write(out.join(name), serde_json::to_vec(&spelled(document.clone(), fields)?)?)?;
    }
    Ok(())
}

/// Returns YAML as JSON, with the keys in their order.
fn json(yaml: &Yaml) -> Result<Value, Box<dyn Error>> {
    Ok(match yaml {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => (*value).into(),
        Yaml::Value(Scalar::Integer(value)) => (*value).into(),
        Yaml::Value(Scalar::String(value)) => value.as_ref().into(),
        Yaml::Sequence(items) => items.iter().map(json).collect::<Result<Vec<_>, _>>()?.into(),
        Yaml::Mapping(entries) => {
            let mut object = Map::new();
            for (key, value) in entries {
                let key = key.as_str().ok_or_else(|| format!("a key is no text: {key:?}"))?;
                object.insert(key.to_owned(), json(value)?);
            }
            object.into()
        }
        Yaml::Representation(..) | Yaml::Value(_) | Yaml::Tagged(..) | Yaml::Alias(_) | Yaml::BadValue => {
            return Err(format!("{OPENAPI} needs none of these: {yaml:?}").into());
        }
    })
}

/// Returns the document with these fields in place of [`PRIMARY_ID`].
fn spelled(mut document: Value, fields: &[&str]) -> Result<Value, Box<dyn Error>> {
    let contact = document.pointer_mut("/components/schemas/Contact").ok_or("there is no schema Contact")?;
    let required = contact["required"].as_array_mut().ok_or("Contact has no required fields")?;
    let rest = required.iter().filter(|name| *name != PRIMARY_ID).cloned();
    let named = fields.iter().map(|name| Value::from(*name)).chain(rest).collect();
    *required = named;
    let properties = contact["properties"].as_object_mut().ok_or("Contact has no properties")?;
    if !properties.contains_key(PRIMARY_ID) {
        return Err(format!("Contact has no {PRIMARY_ID}").into());
    }
    for (name, schema) in mem::take(properties) {
        if name == PRIMARY_ID {
            properties.extend(fields.iter().map(|name| ((*name).to_owned(), schema.clone())));
        } else {
            properties.insert(name, schema);
        }
    }
    Ok(document)
}
