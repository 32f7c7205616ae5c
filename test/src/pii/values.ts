import { base, en, Faker, zh_CN } from '@faker-js/faker';

/** Kinds of values that templates ask for, by the name that the file gives them. */
export type Slot =
  | 'PERSON'
  | 'ADDRESS'
  | 'CREDIT_CARD'
  | 'IBAN_CODE'
  | 'PHONE_NUMBER'
  | 'EMAIL_ADDRESS'
  | 'IP_ADDRESS'
  | 'US_SSN'
  | 'DATE_OF_BIRTH'
  | 'ID_CARD'
  | 'CREDIT_CODE'
  | 'LICENSE_PLATE'
  | 'PASSPORT';
/** What stands in a text and is nobody's. */
export type Filler = 'number' | 'date' | 'amount' | 'order' | 'company' | 'word';

const PLATES = '京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼';
const PLATE_LETTERS = 'ABCDEFGHJKLMNPQRSTUVWXYZ';
const ROADS = '路 街 大道 大街 巷 胡同'.split(' ');
const AREAS =
  '北京市朝阳区 北京市海淀区 上海市浦东新区 上海市徐汇区 广东省广州市天河区 广东省深圳市南山区 浙江省杭州市西湖区 江苏省南京市鼓楼区 四川省成都市武侯区 湖北省武汉市洪山区 陕西省西安市雁塔区 山东省青岛市市南区 湖南省长沙市岳麓区 河南省郑州市金水区 重庆市渝中区 天津市和平区 福建省厦门市思明区 云南省昆明市五华区 辽宁省大连市沙河口区 广西壮族自治区南宁市青秀区 新疆维吾尔自治区乌鲁木齐市天山区 河北省石家庄市长安区平安镇 江西省赣州市南康区'.split(
    ' ',
  );
const ROAD_NAMES =
  '建设 人民 解放 中山 和平 长江 黄河 文化 学府 滨河 科技 创新 花园 东风 胜利 青年 新华 朝阳 光明 幸福 迎宾 金融 凤凰 天府 锦绣 龙腾 望江 西湖 玉泉 紫荆 银杏 翠竹 观澜 梧桐 汇景'.split(
    ' ',
  );
const ESTATES =
  '阳光小区 翠湖花园 万科城 锦绣家园 金域国际公寓 恒大名都 龙湖花园 中海大厦 世纪广场 和谐小区'.split(' ');

/** Makes the values of one file. */
export class Values {
  readonly #zh: Faker;
  readonly #en: Faker;

  constructor(seed: number) {
    this.#zh = new Faker({ locale: [zh_CN, en, base], seed });
    this.#en = new Faker({ locale: [en, base], seed: seed + 1 });
  }

  pick<T>(list: readonly T[]): T {
    return this.#en.helpers.arrayElement(list);
  }

  chance(share: number): boolean {
    return this.#en.number.float() < share;
  }

  value(slot: Slot, chinese: boolean): string {
    switch (slot) {
      case 'PERSON':
        return chinese ? this.#zh.person.fullName() : this.#englishName();
      case 'ADDRESS':
        return chinese ? this.#chineseAddress() : this.#englishAddress();
      case 'CREDIT_CARD':
        return this.#grouped(this.#card(), chinese);
      case 'IBAN_CODE':
        return this.#en.finance.iban({ formatted: this.chance(0.4) });
      case 'PHONE_NUMBER':
        return chinese ? this.#chinesePhone() : this.#englishPhone();
      case 'EMAIL_ADDRESS':
        return this.#en.internet.email();
      case 'IP_ADDRESS':
        return this.chance(0.8) ? this.#en.internet.ipv4() : this.#en.internet.ipv6();
      case 'US_SSN':
        return `${this.#digits(3, '12345')}-${this.#digits(2, '123')}-${this.#digits(4, '456')}`;
      case 'DATE_OF_BIRTH':
        return this.#birthDate(chinese);
      case 'ID_CARD':
        return this.#idCard();
      case 'CREDIT_CODE':
        return this.#creditCode();
      case 'LICENSE_PLATE':
        return this.#plate();
      case 'PASSPORT':
        return `${this.pick(['E', 'G', 'EA', 'EB'])}${this.#digits(8)}`.slice(0, 9);
    }
  }

  filler(name: Filler, chinese: boolean): string {
    const faker = chinese ? this.#zh : this.#en;
    switch (name) {
      case 'number':
        return String(faker.number.int({ min: 2, max: 9999 }));
      case 'date':
        return faker.date.recent({ days: 900 }).toISOString().slice(0, 10);
      case 'amount':
        return faker.number.float({ min: 1, max: 90000, fractionDigits: 2 }).toFixed(2);
      case 'order':
        return `${faker.string.alpha({ length: 2, casing: 'upper' })}${faker.string.numeric(10)}`;
      case 'company':
        return chinese
          ? `${this.pick(ROAD_NAMES)}${this.pick(['科技', '贸易', '医药'])}有限公司`
          : this.#en.company.name();
      case 'word':
        return chinese
          ? this.pick(['退款', '发票', '化验单', '物流', '合同', '保险'])
          : this.#en.commerce.product();
    }
  }

  #digits(length: number, first = '123456789'): string {
    return this.pick([...first]) + this.#en.string.numeric(length - 1);
  }

  #englishName(): string {
    const { person } = this.#en;
    return this.chance(0.2) ? person.firstName() : `${person.firstName()} ${person.lastName()}`;
  }

  #chineseAddress(): string {
    if (this.chance(0.25)) {
      return `${this.#zh.location.state()}${this.#zh.location.city()}${this.#zh.location.streetAddress(true)}`;
    }
    const road = `${this.pick(ROAD_NAMES)}${this.pick(ROADS)}${this.#number(900)}号`;
    const room = `${this.#number(30)}${this.pick(['栋', '号楼', '幢'])}${this.chance(0.5) ? `${this.#number(6)}单元` : ''}${this.#number(29)}0${this.#number(4)}室`;
    const parts = [this.pick(AREAS), road, ...(this.chance(0.5) ? [this.pick(ESTATES)] : []), room];
    return parts.slice(this.chance(0.15) ? 1 : 0, this.chance(0.3) ? 2 : 4).join('');
  }

  #englishAddress(): string {
    const { location } = this.#en;
    const street = location.streetAddress(this.chance(0.4));
    if (this.chance(0.3)) return street;
    const state = this.chance(0.7) ? location.state({ abbreviated: true }) : location.state();
    return `${street}${this.pick([', ', '\n'])}${location.city()}, ${state} ${location.zipCode()}`;
  }

  #number(max: number): number {
    return this.#en.number.int({ min: 1, max });
  }

  #chinesePhone(): string {
    const mobile = `1${this.pick(['38', '39', '50', '59', '77', '86', '98'])}${this.#en.string.numeric(8)}`;
    const spaced = `${mobile.slice(0, 3)}${this.pick([' ', '-'])}${mobile.slice(3, 7)}${this.pick([' ', '-'])}${mobile.slice(7)}`;
    const landline = `0${this.pick(['10', '21', '755', '571'])}-${this.#digits(8, '2345678')}`;
    return this.pick([mobile, mobile, spaced, `+86 ${mobile}`, landline]);
  }

  #englishPhone(): string {
    const [area, exchange, line] = [
      this.#digits(3, '23456789'),
      this.#digits(3, '23456789'),
      this.#en.string.numeric(4),
    ];
    return this.pick([
      `(${area}) ${exchange}-${line}`,
      `${area}-${exchange}-${line}`,
      `+1 ${area} ${exchange} ${line}`,
      `${area}.${exchange}.${line}`,
      `+44 20 7${this.#en.string.numeric(3)} ${line}`,
    ]);
  }

  #card(): string {
    const [head, length] = this.pick([
      ['4', 16],
      ['51', 16],
      ['55', 16],
      ['34', 15],
      ['37', 15],
      ['6011', 16],
      ['622848', 19],
      ['621700', 19],
      ['625', 16],
    ] as const);
    return withLuhn(head + this.#en.string.numeric(length - head.length - 1));
  }

  #grouped(card: string, chinese: boolean): string {
    if (card.length === 15 || this.chance(chinese ? 0.7 : 0.5)) return card;
    return card.replace(/(\d{4})(?=\d)/g, `$1${this.pick([' ', '-'])}`);
  }

  #birthDate(chinese: boolean): string {
    const date = this.#en.date.birthdate({ mode: 'age', min: 18, max: 90 });
    const [year, month, day] = date.toISOString().slice(0, 10).split('-').map(Number) as [
      number,
      number,
      number,
    ];
    if (chinese)
      return this.pick([
        `${year}年${month}月${day}日`,
        date.toISOString().slice(0, 10),
        `${year}/${month}/${day}`,
      ]);
    const name = date.toLocaleString('en', { month: 'long', timeZone: 'UTC' });
    return this.pick([
      `${month}/${day}/${year}`,
      `${name} ${day}, ${year}`,
      `${day} ${name} ${year}`,
      date.toISOString().slice(0, 10),
    ]);
  }

  #idCard(): string {
    const region = this.pick([
      '110105',
      '310115',
      '440305',
      '510104',
      '650102',
      '330106',
      '420111',
      '370202',
    ]);
    const day = this.#en.date
      .birthdate({ mode: 'age', min: 1, max: 95 })
      .toISOString()
      .slice(0, 10)
      .replaceAll('-', '');
    const body = `${region}${day}${this.#en.string.numeric(3)}`;
    // The sum of all digits times 2^(17-i) is 1 modulo 11 (GB 11643).
    const sum = [...body].reduce((total, digit, i) => total + Number(digit) * (2 ** (17 - i) % 11), 0);
    const check = (12 - (sum % 11)) % 11;
    return body + (check === 10 ? 'X' : check);
  }

  #creditCode(): string {
    const characters = '0123456789ABCDEFGHJKLMNPQRTUWXY';
    const body = `91${this.pick(['110108', '310115', '440300', '330100'])}${Array.from({ length: 9 }, () => this.pick([...characters])).join('')}`;
    const sum = [...body].reduce((total, one, i) => total + characters.indexOf(one) * (3 ** i % 31), 0);
    return body + characters[(31 - (sum % 31)) % 31];
  }

  #plate(): string {
    const head = this.pick([...PLATES]) + this.pick([...PLATE_LETTERS]) + (this.chance(0.3) ? '·' : '');
    const letter = () => this.pick([...PLATE_LETTERS]);
    return (
      head +
      this.pick([
        `${this.#digits(5)}`,
        `${letter()}${this.#digits(4)}`,
        `D${this.#digits(5)}`,
        `${this.#digits(2)}${letter()}${this.#digits(2)}`,
      ])
    );
  }
}

/** The digit that makes the sum of Luhn a multiple of ten. */
function withLuhn(body: string): string {
  const doubled = [...body]
    .reverse()
    .map((digit, i) => (i % 2 === 0 ? [0, 2, 4, 6, 8, 1, 3, 5, 7, 9][Number(digit)]! : Number(digit)));
  return body + ((10 - (doubled.reduce((a, b) => a + b, 0) % 10)) % 10);
}
