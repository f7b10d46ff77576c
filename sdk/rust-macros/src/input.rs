//! `#[derive(InputRow)]` and `#[derive(InputColumns)]`.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{DeriveInput, Error, Lifetime, Result, spanned::Spanned};

use crate::fields::{self, Field, Rules};

pub(crate) fn rows(item: &DeriveInput) -> Result<TokenStream> {
    let input = Input::read(item, "InputRow")?;
    let sdk = quote!(::wasmill_sdk);
    let value = |field: &Field| {
        let ty = &field.ty;
        quote_spanned!(ty.span()=> <#ty as #sdk::InputValue<'batch>>::View)
    };
    let requires = input.requires(&value);
    let Input {
        item, fields, lifetime, ..
    } = &input;
    let (name, generics) = (&item.ident, input.generics());
    let views = fields.iter().map(value);
    let opened = input.opened();
    let indexes = (0..fields.len()).map(syn::Index::from);
    let read = fields.iter().zip(indexes).map(|(field, at)| {
        let (ident, ty) = (&field.ident, &field.ty);
        let value = value(field);
        quote_spanned!(ty.span()=> #ident: <#value as #sdk::View<'batch>>::get(&views.#at, row))
    });
    Ok(quote! {
        #requires
        #[automatically_derived]
        impl<#lifetime> #sdk::InputRow<#lifetime> for #name #generics {
            type Views = (#(#views,)*);

            fn views(batch: &#lifetime #sdk::RawBatch) -> ::std::result::Result<Self::Views, #sdk::Failure> {
                let _ = batch;
                ::std::result::Result::Ok((#(#opened,)*))
            }

            #[inline]
            fn read(views: &Self::Views, row: usize) -> Self {
                let _ = (views, row);
                Self { #(#read),* }
            }
        }
    })
}

pub(crate) fn columns(item: &DeriveInput) -> Result<TokenStream> {
    let input = Input::read(item, "InputColumns")?;
    let sdk = quote!(::wasmill_sdk);
    let requires = input.requires(&|field| {
        let ty = &field.ty;
        quote_spanned!(ty.span()=> #ty)
    });
    let Input {
        item, fields, lifetime, ..
    } = &input;
    let (name, generics) = (&item.ident, input.generics());
    let idents = fields.iter().map(|field| &field.ident);
    let opened = input.opened();
    Ok(quote! {
        #requires
        #[automatically_derived]
        impl<#lifetime> #sdk::InputColumns<#lifetime> for #name #generics {
            fn views(batch: &#lifetime #sdk::RawBatch) -> ::std::result::Result<Self, #sdk::Failure> {
                let _ = batch;
                ::std::result::Result::Ok(Self { #(#idents: #opened),* })
            }
        }
    })
}

/// A struct that reads, with its lifetime called `'batch`.
struct Input<'a> {
    item: &'a DeriveInput,
    fields: Vec<Field>,
    lifetime: Lifetime,
}

impl<'a> Input<'a> {
    fn read(item: &'a DeriveInput, derive: &'static str) -> Result<Self> {
        let rules = Rules {
            derive,
            attribute: "column",
            event_time: true,
            rename: str::to_owned,
            lifetimes_max: 1,
        };
        let mut fields = fields::read(item, &rules)?;
        let lifetime = Lifetime::new("'batch", Span::call_site());
        for field in &mut fields {
            field.ty = fields::with_lifetime(&field.ty, "batch");
        }
        let mut times = fields.iter().filter_map(|field| field.event_time);
        if let (Some(_), Some(second)) = (times.next(), times.next()) {
            return Err(Error::new(second, "only one field can be the event time"));
        }
        Ok(Self { item, fields, lifetime })
    }

    fn generics(&self) -> Option<TokenStream> {
        let lifetime = &self.lifetime;
        (!fields::lifetimes(self.item).is_empty()).then(|| quote!(<#lifetime>))
    }

    /// The columns that a batch must hold. `view` gives the type of a field's view.
    fn requires(&self, view: &dyn Fn(&Field) -> TokenStream) -> TokenStream {
        let sdk = quote!(::wasmill_sdk);
        let (name, generics) = (&self.item.ident, self.generics());
        let lifetime = &self.lifetime;
        let columns = self
            .fields
            .iter()
            .filter(|field| field.event_time.is_none())
            .map(|field| {
                let (view, name) = (view(field), &field.name);
                quote_spanned! {field.ty.span()=>
                    #sdk::ColumnSpec {
                        name: #name,
                        data_type: <#view as #sdk::View<'batch>>::DATA_TYPE,
                        nullable: <#view as #sdk::View<'batch>>::NULLABLE,
                    }
                }
            });
        let event_times = self.fields.iter().any(|field| field.event_time.is_some());
        quote! {
            #[automatically_derived]
            impl<#lifetime> #sdk::Requires for #name #generics {
                const COLUMNS: &'static [#sdk::ColumnSpec] = &[#(#columns),*];
                const EVENT_TIMES: bool = #event_times;
            }
        }
    }

    /// For each field, its view of the batch.
    fn opened(&self) -> Vec<TokenStream> {
        let mut position = 0_usize;
        let mut opened = Vec::new();
        for field in &self.fields {
            if field.event_time.is_some() {
                opened.push(quote_spanned!(field.ty.span()=> ::wasmill_sdk::RawBatch::event_times(batch)?));
            } else {
                opened.push(quote_spanned!(field.ty.span()=> ::wasmill_sdk::RawBatch::view(batch, #position)?));
                position += 1;
            }
        }
        opened
    }
}
