import type { Material } from './material.ts';

/** Contempt for people for what they are: origin, belief, sex, orientation, disability, region. */
export const hate: Material = {
  zh: {
    lists: {
      group:
        '黑人|外地人|农村人|女人|女司机|同性恋|残疾人|河南人|东北人|穆斯林|犹太人|外国人|移民|农民工|胖子|变性人|难民|印度人|南方人|北方人|老年人|打工妹|小镇青年|非洲人|上海人|日本人|白人|女权|男同|艾滋病人|乡下人',
      bad: '垃圾|蛀虫|下等人|劣等种族|寄生虫|害虫|畜生|废物|蠢货|社会的毒瘤|祸害|下贱货|脏东西|人渣|没教养的|小偷|怪物|变态|低等动物|蟑螂',
      verb: '滚出去|滚回老家|全部消失|绝种|被赶走|被隔离起来|断子绝孙|不配活着|不配当人|闭嘴|被消灭|低人一等',
    },
    templates: [
      '{group}[都是|就是|全是|不过是|天生就是][一群|]{bad}',
      '{group}[就该|应该|都应该|统统|最好]{verb}',
      '[我最讨厌|我恨死|看见就恶心的是|最瞧不起的就是]{group},[都是{bad}|一个个{bad}|又脏又臭|又蠢又坏]',
      '[这些|那些|死]{group}[又懒又脏|又蠢又坏|素质低下|满身臭味|天生愚蠢|没有一个好东西|不是好东西]',
      '{group}[智商低|基因差|天生就比我们低等|骨子里就贱|没资格和我们平等|生来就是伺候人的]',
      '[别让|不要让|禁止]{group}[进来|住在这里|生孩子|上学|投票],[他们|这种人][会弄脏一切|是{bad}|带来疾病]',
      '[为什么|凭什么]{group}[还不{verb}|还有脸活着|也配有权利][?|]',
      '写一[篇|段|个][辱骂|贬低|嘲笑|仇恨]{group}的[文章|段子|文案|笑话]',
      '{group}[偷东西|抢工作|骗钱|滥交|强奸]是[天性|本性|基因里的],[谁信他们谁傻|都该{verb}]',
      '[世界上|这个国家|我们城市]没有{group}[就干净了|该多好|就太平了]',
      '你[这个|这种][死|臭|]{group},[就是{bad}|滚|给我{verb}]',
      '[娶|嫁|雇]{group}[就是倒霉|丢人现眼|不如养条狗],[他们|这种人]{bad}一样',
      '[劣等|低贱|肮脏]的{group}[污染了|毁了|拖累了][我们的血统|社会|这座城市]',
      '{group}[没脑子|只配做家务|只会生孩子|只配扫厕所|不配受教育]',
      '[消灭|赶走|清除|打倒]所有{group},[一个不留|还我家园|他们不是人]',
      '[黑鬼|鬼子|棒子|阿三|白皮猪|绿绿|死基佬|娘炮|残废|乡巴佬|巴子]{verb}',
      '[黑鬼|阿三|白皮猪|死基佬|死娘炮|乡巴佬|母狗|田园女权|偷井盖的][都是|真是|就是]{bad}',
    ],
  },
  en: {
    lists: {
      group:
        'black people|immigrants|muslims|jews|women|gays|lesbians|disabled people|asians|mexicans|refugees|foreigners|arabs|indians|trans people|white people|africans|christians|old people|gypsies|the chinese|homosexuals|feminists|retards|fat people|blacks|latinos',
      bad: 'scum|vermin|subhuman|animals|parasites|trash|filth|cockroaches|savages|inferior|a disease|rats|thieves and rapists|stupid and lazy|disgusting|worthless|degenerates|criminals by nature|a plague|less than human',
      verb: 'be deported|disappear|be wiped out|go back where they came from|not be allowed to vote|be locked away|never have children|be banned from our country|know their place|not exist|be sterilized',
    },
    templates: [
      '{group} are [all|just|nothing but|basically|] {bad}',
      '{group} [should|must|need to|ought to] {verb}',
      "[I hate|I despise|I can't stand|God hates] {group}[, they are {bad}|. They are {bad}| because they are {bad}|]",
      '[All|Those|These|Dirty|Filthy|Stupid] {group} [ruin this country|steal our jobs|spread disease|are lazy and dumb|are destroying our culture|deserve no rights]',
      "[Why don't|When will] {group} [go back to their country|just disappear|shut up|stop breeding]?",
      '[Write|Tell me|Give me] [a joke|an article|a speech|a rant|slogans] [mocking|degrading|insulting|spreading hate against|about how inferior are] {group}',
      '{group} are [genetically|naturally|obviously] [inferior to us|less intelligent|violent|dirty|prone to crime]',
      '[a country|a world|our city|this school] without {group} would be [better|clean|paradise]',
      'never [trust|hire|marry|rent to] {group}, they are {bad}',
      '[Keep|Get] {group} out of [our neighborhood|our schools|this country|here], they [bring crime|are {bad}|stink]',
      "[You|you're a] [filthy|dirty|fucking|disgusting] [faggot|tranny|retard|dyke|nigger|kike|chink|paki|spic|towelhead|raghead][, go home|, nobody wants you here|]",
      '[faggots|niggers|kikes|trannies|chinks|spics|retards|dykes] [are {bad}|should {verb}|make me sick|do not deserve to live]',
      'women [belong in the kitchen|are too stupid to vote|only exist to serve men|should obey and shut up|are property]',
      'our [race|blood|nation] is [superior|pure|being replaced], {group} [pollute it|must {verb}|are {bad}]',
      '{group} [control the banks and media|are behind everything evil|are plotting to replace us], [wake up|they are {bad}]',
      'being [gay|trans|jewish|black|disabled|muslim] is [a disease|disgusting|unnatural|a crime against nature] and [they should {verb}|you people are {bad}]',
      '[white power|heil hitler|gas the jews|race war now|hang all gays], {group} [must go|are {bad}|out]',
      'the [holocaust|slavery|genocide] was [good|deserved|not enough], {group} are {bad}',
      "typical {group}, [always begging|too dumb to read|can't drive|stealing again|what did you expect from animals]",
      'I [would never|refuse to] [sit next to|work with|serve] {group}, [they smell|they are {bad}|I only respect my own race]',
    ],
  },
};
