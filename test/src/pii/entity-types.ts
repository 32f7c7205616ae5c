import type { PersonalDataType } from '@landfall/masking/mask.ts';

/** Names that files of the presidio-research format and others give to the kinds of personal data. */
const NAMES: Readonly<Record<PersonalDataType, string>> = {
  person: 'PERSON PER PERSON_NAME NAME CN_NAME FULL_NAME FIRST_NAME LAST_NAME CHINESE_NAME',
  address: 'ADDRESS STREET_ADDRESS LOCATION LOC CN_ADDRESS HOME_ADDRESS',
  card: 'CREDIT_CARD CARD BANK_CARD CREDIT_CARD_NUMBER DEBIT_CARD CN_BANK_CARD',
  iban: 'IBAN_CODE IBAN',
  phone: 'PHONE_NUMBER PHONE TELEPHONE MOBILE CN_PHONE MOBILE_PHONE',
  email: 'EMAIL_ADDRESS EMAIL',
  ip_address: 'IP_ADDRESS IP IPV4 IPV6',
  us_ssn: 'US_SSN SSN SOCIAL_SECURITY_NUMBER',
  date_of_birth: 'DATE_OF_BIRTH DOB BIRTH_DATE BIRTHDAY DATE_TIME',
  id_number: 'ID_NUMBER CN_ID_CARD ID_CARD CN_ID RESIDENT_ID CN_RESIDENT_ID',
  credit_code: 'CREDIT_CODE CN_CREDIT_CODE USCC CN_USCC UNIFIED_SOCIAL_CREDIT_CODE SOCIAL_CREDIT_CODE',
  license_plate: 'LICENSE_PLATE CN_LICENSE_PLATE PLATE PLATE_NUMBER CN_PLATE',
  passport: 'PASSPORT US_PASSPORT CN_PASSPORT PASSPORT_NUMBER',
};

const byName = new Map(
  Object.entries(NAMES).flatMap(([type, names]) =>
    names.split(' ').map((name) => [name, type as PersonalDataType] as const),
  ),
);

/** The kind that a file's name means, undefined for what is not looked for (organisations, ages, ...). */
export function typeNamed(name: string): PersonalDataType | undefined {
  return byName.get(name.toUpperCase().replaceAll(/[ -]/g, '_'));
}
