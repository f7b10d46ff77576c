//! The fields of a struct as the macros see them: names, types, and the options in their attributes.

use std::collections::BTreeMap;

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{
    Data, DeriveInput, Error, Fields, GenericParam, Lifetime, LitStr, Result, Type, ext::IdentExt, spanned::Spanned,
};

/// A field that stands for a column or a port.
pub(crate) struct Field {
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
    pub(crate) name: LitStr,
    /// The place of `event_time`, where the field takes it.
    pub(crate) event_time: Option<Span>,
}

/// What a struct may be made of.
pub(crate) struct Rules {
    /// The derive, for messages.
    pub(crate) derive: &'static str,
    /// The attribute of fields.
    pub(crate) attribute: &'static str,
    /// Whether a field may be the event time.
    pub(crate) event_time: bool,
    /// How the name of a field becomes that of its column or port.
    pub(crate) rename: fn(&str) -> String,
    /// Whether the struct may have lifetimes, and how many.
    pub(crate) lifetimes_max: usize,
}

/// Reads the fields of a struct with named fields, or of a unit struct.
pub(crate) fn read(item: &DeriveInput, rules: &Rules) -> Result<Vec<Field>> {
    let Data::Struct(data) = &item.data else {
        return Err(Error::new(
            item.ident.span(),
            format!("`{}` can only be derived for a struct", rules.derive),
        ));
    };
    generics(item, rules)?;
    let fields = match &data.fields {
        Fields::Named(fields) => &fields.named,
        Fields::Unit => return Ok(Vec::new()),
        Fields::Unnamed(fields) => {
            let message = format!(
                "`{}` needs fields with names: they are the names of the {}s",
                rules.derive, rules.attribute
            );
            return Err(Error::new(fields.span(), message));
        }
    };
    let fields: Vec<Field> = fields
        .iter()
        .map(|field| read_field(field, rules))
        .collect::<Result<_>>()?;
    distinct(&fields, rules)?;
    Ok(fields)
}

fn generics(item: &DeriveInput, rules: &Rules) -> Result<()> {
    let mut lifetimes = 0;
    for parameter in &item.generics.params {
        match parameter {
            GenericParam::Lifetime(_) => lifetimes += 1,
            GenericParam::Type(_) | GenericParam::Const(_) => {
                let message = format!(
                    "`{}` cannot be generic: the types of its fields decide the schema",
                    rules.derive
                );
                return Err(Error::new(parameter.span(), message));
            }
        }
        if lifetimes > rules.lifetimes_max {
            let message = match rules.lifetimes_max {
                0 => format!("`{}` cannot have a lifetime", rules.derive),
                _ => format!("`{}` can have one lifetime, that of the batch", rules.derive),
            };
            return Err(Error::new(parameter.span(), message));
        }
    }
    Ok(())
}

fn read_field(field: &syn::Field, rules: &Rules) -> Result<Field> {
    let ident = field.ident.clone().expect("the fields are named");
    let mut name = LitStr::new(&(rules.rename)(&ident.unraw().to_string()), ident.span());
    let mut event_time = None;
    for attribute in field
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident(rules.attribute))
    {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("name") {
                name = meta.value()?.parse()?;
                if name.value().is_empty() {
                    return Err(Error::new(name.span(), format!("a {} needs a name", rules.attribute)));
                }
                Ok(())
            } else if rules.event_time && meta.path.is_ident("event_time") {
                event_time = Some(meta.path.span());
                Ok(())
            } else {
                let known = if rules.event_time {
                    "`name` or `event_time`"
                } else {
                    "`name`"
                };
                Err(meta.error(format!("unknown option: expected {known}")))
            }
        })?;
    }
    Ok(Field {
        ident,
        ty: field.ty.clone(),
        name,
        event_time,
    })
}

fn distinct(fields: &[Field], rules: &Rules) -> Result<()> {
    let mut seen = BTreeMap::new();
    for field in fields.iter().filter(|field| field.event_time.is_none()) {
        if let Some(first) = seen.insert(field.name.value(), &field.ident) {
            let message = format!(
                "two {}s have the name `{}`: fields `{first}` and `{}`",
                rules.attribute,
                field.name.value(),
                field.ident
            );
            return Err(Error::new(field.name.span(), message));
        }
    }
    Ok(())
}

/// The lifetimes of the struct's generics.
pub(crate) fn lifetimes(item: &DeriveInput) -> Vec<&Lifetime> {
    item.generics.lifetimes().map(|parameter| &parameter.lifetime).collect()
}

/// The type with every lifetime replaced.
pub(crate) fn with_lifetime(ty: &Type, lifetime: &str) -> Type {
    let replaced = rename_lifetimes(ty.to_token_stream(), lifetime);
    syn::parse2(replaced).expect("a type with other lifetimes is a type")
}

/// A lifetime is an apostrophe and a name. The name keeps its place, for errors.
fn rename_lifetimes(tokens: TokenStream, lifetime: &str) -> TokenStream {
    let mut after_apostrophe = false;
    let rename = |token| {
        let is_name = std::mem::take(&mut after_apostrophe);
        match token {
            TokenTree::Ident(name) if is_name => Ident::new(lifetime, name.span()).into(),
            TokenTree::Group(group) => {
                let mut renamed = Group::new(group.delimiter(), rename_lifetimes(group.stream(), lifetime));
                renamed.set_span(group.span());
                renamed.into()
            }
            TokenTree::Punct(punct) => {
                after_apostrophe = punct.as_char() == '\'';
                punct.into()
            }
            other => other,
        }
    };
    tokens.into_iter().map(rename).collect()
}
