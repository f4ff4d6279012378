//! What each type of letter tells: one struct per type, and the rules that bind several of its fields.

pub mod appeal;
pub mod claim;
pub mod parts;
pub mod precertification;

use jiff::civil::Date;
use serde_json::Value;

use crate::letters::details::parts::{AppealLevel, Denial, Service};
use crate::letters::faults::FieldRule;
use crate::letters::fields::{Field, Reader};
use crate::letters::plan::LettersPolicy;
use crate::model::letter::LetterType;

/// Declares which struct holds the details of which type.
macro_rules! details {
    ($($type:ident => $module:ident,)*) => {
        /// The details of a letter.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each variant is the letter of its name")]
        pub enum Details { $($type(Box<$module::$type>),)* }

        impl Details {
            /// Reads the details of this type of letter.
            pub fn read(letter_type: LetterType, value: Option<&Value>, reader: &mut Reader<'_>) -> Option<Self> {
                match letter_type {
                    $(LetterType::$type => Field::read(value, reader).map(|details| Self::$type(Box::new(details))),)*
                }
            }

            /// What a template gets.
            pub fn show(&self) -> Value {
                match self { $(Self::$type(details) => details.show(),)* }
            }
        }
    };
}

details! {
    ReconsiderationReceived => claim,
    AdditionalInformationRequested => claim,
    ReconsiderationAdjusted => claim,
    ReconsiderationUpheld => claim,
    RequestFailedVirus => claim,
    ClaimDenied => claim,
    ReconsiderationCopy => claim,
    PrecertificationReceived => precertification,
    AdditionalDocumentsRequested => precertification,
    PrecertificationApproved => precertification,
    PrecertificationPartiallyApproved => precertification,
    PrecertificationDenied => precertification,
    PrecertificationVoid => precertification,
    PrecertificationNotRequired => precertification,
    AppealReceived => appeal,
    AppealUpheld => appeal,
    AppealOverturned => appeal,
    ReturnCoverSheet => claim,
}

impl Details {
    /// What binds several fields: what policy asks of a denial, the IRO of an external review, days in their order.
    pub fn check(&self, date: Date, plan: &LettersPolicy, reader: &mut Reader<'_>) {
        let later = |reader: &mut Reader<'_>, field: &str, day: Option<Date>| {
            if day.is_some_and(|day| day <= date) {
                reader.fault_at(field, FieldRule::NotAfterLetter);
            }
        };
        match self {
            Self::ReconsiderationReceived(d) => later(reader, "decide_by", d.decide_by),
            Self::AdditionalInformationRequested(d) => later(reader, "due_by", Some(d.due_by)),
            Self::ReconsiderationUpheld(d) => later(reader, "appeal_deadline", d.appeal_deadline),
            Self::ClaimDenied(d) => check_denial(&d.denial, date, plan, reader),
            Self::PrecertificationReceived(d) => {
                check_services("services", &d.services, reader);
                later(reader, "decide_by", d.decide_by);
            }
            Self::AdditionalDocumentsRequested(d) => {
                check_services("services", &d.services, reader);
                later(reader, "due_by", Some(d.due_by));
            }
            Self::PrecertificationApproved(d) => {
                check_days("valid_to", Some(d.valid_from), Some(d.valid_to), reader);
                check_services("services", &d.services.0, reader);
            }
            Self::PrecertificationPartiallyApproved(d) => {
                check_days("valid_to", Some(d.valid_from), Some(d.valid_to), reader);
                check_services("approved", &d.approved.0, reader);
                check_services("denied", &d.denied.0, reader);
                check_denial(&d.denial, date, plan, reader);
            }
            Self::PrecertificationDenied(d) => {
                check_services("services", &d.services.0, reader);
                check_denial(&d.denial, date, plan, reader);
            }
            Self::PrecertificationVoid(d) => check_services("services", &d.services, reader),
            Self::PrecertificationNotRequired(d) => check_services("services", &d.services.0, reader),
            Self::AppealReceived(d) => later(reader, "decide_by", Some(d.decide_by)),
            Self::AppealUpheld(d) => reader.under("next", |reader| {
                later(reader, "deadline", Some(d.next.deadline));
                if d.next.level == AppealLevel::External && d.next.iro.is_none() {
                    reader.fault_at("iro", FieldRule::Missing);
                }
            }),
            Self::AppealOverturned(d) => check_services("services", &d.services, reader),
            Self::ReturnCoverSheet(d) => later(reader, "due_by", d.due_by),
            Self::ReconsiderationAdjusted(_) | Self::RequestFailedVirus(_) | Self::ReconsiderationCopy(_) => {}
        }
    }
}

fn check_denial(denial: &Denial, date: Date, plan: &LettersPolicy, reader: &mut Reader<'_>) {
    reader.under("denial", |reader| {
        for field in plan.denial.of(denial.class).requires.iter().filter(|field| !denial.has(**field)) {
            reader.fault_at(field.as_str(), FieldRule::DenialNeeds);
        }
        if denial.appeal_deadline.is_some_and(|day| day <= date) {
            reader.fault_at("appeal_deadline", FieldRule::NotAfterLetter);
        }
        if denial.appeal_level == Some(AppealLevel::External) && denial.iro.is_none() {
            reader.fault_at("iro", FieldRule::Missing);
        }
    });
}

fn check_services(field: &str, services: &[Service], reader: &mut Reader<'_>) {
    for (i, service) in services.iter().enumerate() {
        check_days(&format!("{field}.{i}.service_to"), service.service_from, service.service_to, reader);
    }
}

fn check_days(field: &str, from: Option<Date>, to: Option<Date>, reader: &mut Reader<'_>) {
    if from.is_some_and(|from| to.is_some_and(|to| to < from)) {
        reader.fault_at(field, FieldRule::EndsBeforeItBegins);
    }
}
