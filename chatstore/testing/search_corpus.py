"""What is said, and what is searched for in it, in ten scripts and more: the same answers are due from every backend."""

from __future__ import annotations

from typing import Final

#: Sentences of each script, stored in this order.
SAID: Final[dict[str, tuple[str, ...]]] = {
    "latin": (
        "The quick brown fox jumps over the lazy dog",
        "Le café crème coûte 3,50 € à Besançon; naïve garçon, où est l'hôtel?",
        "Straße und Größe: Ölöfen in ÅNGSTRÖM, Łódź, Øresund, Đakovo, smørrebrød",
        "İstanbul'da ığdır ve Iğdır; ﬁne ﬂuﬀ, œuvre æther, x² + y³ = ½",
        "snake_case, camelCase, kebab-case; path/to/file.txt, user@example.com, v1.2.3",
        "Tiếng Việt: Nguyễn Ái Quốc ở Hà Nội, phở bò",
        "to be or not to be, that is the question of the of the age",
        "cafe\u0301 decomposed, re\u0301sume\u0301 too, soft\u00adware and zero\u200cwidth",
    ),
    "greek": ("Η Αθήνα είναι πρωτεύουσα της Ελλάδας", "ΟΔΥΣΣΕΥΣ και Οδυσσεύς, μῆνιν ἄειδε θεά"),
    "cyrillic": (
        "Привет, мир! Ёлка и ёжик, мой дом",
        "Київ і Харків — міста України, її їжак",
        "Ещё раз: елка",
    ),
    "hebrew": ("שלום עולם, מה שלומך היום?", "שָׁלוֹם בְּרֵאשִׁית בָּרָא"),
    "arabic": ("مرحبا بالعالم، كيف حالك؟", "مَرْحَبًا كتـــاب الكتاب", "می‌خواهم کتاب بخوانم"),
    "devanagari": ("नमस्ते दुनिया, हिन्दी में लिखो", "यह एक किताब है और वह दूसरी किताब"),
    "thai": ("สวัสดีชาวโลก ภาษาไทยไม่เว้นวรรค", "ผมชอบกินข้าวผัดที่กรุงเทพ"),
    "han": ("我爱北京天安门,天安门上太阳升", "今天天气很好。我们去公园吧!", "東京都は日本の首都です", "学"),
    "kana": ("ひらがなとカタカナとｶﾀｶﾅ", "コンピュータのプログラミング、ガギグゲゴ", "ありがとうございます"),
    "hangul": ("안녕하세요 세계! 한국어로 말해요", "대한민국의 수도는 서울이다", "서울에서 부산까지"),
    "georgian": ("გამარჯობა მსოფლიო", "საქართველო ლამაზია"),
    "armenian": ("Բարեւ աշխարհ", "Հայաստան և Երևան"),
    "tamil": ("வணக்கம் உலகம்", "தமிழ் மொழி இனிது"),
    "mixed": (
        "iPhone手机很好用, Pythonで書くコード, K팝 music",
        "emoji 🙂 👩‍💻 1️⃣ ❤️ between words🚀and more",
        "１２３ ＦＵＬＬ width, 10μm and 5 kΩ, Δt β-carotene",
        "tabs\tand\nnewlines\r\nand\x0bmore, trailing-",
        "",
        "!?… --- ***",
        "quick " * 12 + "repeated fox",
    ),
}
#: What is typed.
ASKED: Final[tuple[str, ...]] = (
    # words
    "quick", "QUICK", "fox quick", "fox dog lazy", "quic", "cat", "quick cat", "the", "of", "a", "x", "3", "1", "50",
    "cafe", "café", "CAFÉ", "cafe\u0301", "creme", "naive", "garcon", "garçon", "hotel", "l'hôtel", "besancon", "ou est",
    "strasse", "straße", "STRASSE", "grosse", "olofen", "ölöfen", "angstrom", "lodz", "Łódź", "oresund", "smorrebrod",
    "dakovo", "istanbul", "İSTANBUL", "igdir", "fine", "fluff", "oeuvre", "œuvre", "aether", "x2", "y3", "resume", "software",
    "zerowidth", "snake", "snake_case", "case snake", "kebab-case", "camelcase", "camel", "file.txt", "user@example.com",
    "example", "v1.2.3", "nguyen", "Nguyễn", "ha noi", "pho bo", "tieng viet", "decomposed cafe", "not to be", "€",
    # phrases
    '"quick brown"', '"brown quick"', '"the lazy dog"', '"to be or not"', '"of the of"', '"of the age"', '"cafe creme"',
    '"path to file"', '"path/to/file"', '"snake case"', '"naive garcon"', '"a b"', '""', '"', '"quick', 'quick"', '"quick" "fox"',
    '"or not to"', "\u201cquick brown\u201d", "\u201equick brown\u201c", '"to be" question', '"quick quick quick"', '"quick fox"',
    # without
    "quick -dog", "quick -cat", "fox -quick", "-quick", "-dog quick", "quick --dog", "quick - dog", "quick -", "-", "--",
    'be -"not to"', 'to -"to be"', "case -kebab", "cafe -creme", "cafe -cafe", "quick -do*", "of -question", "x -y3", "-x",
    'quick -"lazy do*"', "kebab-case -snake", "-kebab-case case",
    # beginnings
    "qui*", "q*", "quick*", "*", "**", "*uick", "qu*ck", "fo* br*", "caf*", "cré*", "stra*", "ang*", '"quick bro*"',
    '"the la*"', '"quick bro"*', "que* -fox", "nguy*", "soft*", "zz*", "zero*", "3*", "kn* ob*", "exam* us*", "que*tion", "re*",
    # what other engines take for syntax
    "quick OR cat", "quick AND fox", "NOT quick", "NEAR(quick fox)", "content:quick", "quick:*", "(quick)", "quick & fox",
    "quick | cat", "!quick", "+quick +fox", "quick~2", "quick^2", "[quick]", "{fox}", "quick\\", "'quick'", "quick%", "qu_ck",
    "quick\x00fox", "\ud800quick", "quick; DROP TABLE x; --", "\t quick \n", "🙂", "🚀", "quick🚀fox", "1️⃣",
    # Greek, Cyrillic
    "αθηνα", "Αθήνα", "ΑΘΗΝΑ", "αθην*", "οδυσσευς", "Οδυσσεύς", "ΟΔΥΣΣΕΎΣ", "μηνιν", "αειδε θεα", '"μηνιν αειδε"', "ελλαδ*",
    "привет", "ПРИВЕТ", "прив*", "елка", "ёлка", "ёж*", "мои", "мой дом", "киів", "київ", "їжак", '"привет мир"', "мир -дом", "еще",
    # Hebrew, Arabic
    "שלום", "שָׁלוֹם", "שלומך", "שלו*", '"שלום עולם"', "בראשית", "ברא", "مرحبا", "مَرْحَبًا", "بالعالم", "كتاب", "الكتاب", "كت*",
    "میخواهم", "می‌خواهم", "کتاب", '"کتاب بخوانم"', "مرحبا -كيف",
    # Devanagari, Tamil, Georgian, Armenian
    "नमस्ते", "दुनिया", "हिन्दी", "हिन्द*", "किताब", "किताब -दूसरी", '"एक किताब"', "லிட", "வணக்கம்", "தமிழ்", "தமி*", '"தமிழ் மொழி"',
    "გამარჯობა", "საქ*", "მსოფლიო", "ბარევ", "բարեւ", "ԲԱՐԵՒ", "երևան", "Հայ*", "աշխարհ",
    # Thai
    "สวัสดี", "ภาษาไทย", "ไทย", "ข้าว", "ข้าวผัด", "กรุงเทพ", "ก", "ผัด -ไทย", "ผมชอบ กรุง", '"กินข้าว"', "โลก",
    # Han, kana, Hangul
    "北京", "天安门", "天安門", "安", "天", "京天", "门上太", "我们", "我 天", "公园", "北京 太阳", "北京 -太阳", '"天安门上"', '"天安门 上"',
    "東京", "京都", "日本", "首都", "は", "学", "学 习", "升", "吧", "天气*", "-天 我们", "ひらがな", "カタカナ", "ｶﾀｶﾅ", "かたかな", "プログラム",
    "プログラミング", "ガギ", "カキ", "ｶﾞｷﾞ", "コンピュータ", "ありがとう", "ございます", "がと", "안녕", "안녕하세요", "한국", "한국어", "국어", "서울",
    "서울 -부산", "서울이다", "부산*", "수도", "대한민국", "\u1109\u1165\u110b\u116e\u11af", "민", "다",
    # mixtures
    "iphone", "手机", "iphone手机", "手机 iphone", "phone", "python", "コード", "書く", "で書", "k팝", "팝", "music -手机", "emoji",
    "between", "words and", "123", "１２３", "full", "ＦＵＬＬ", "10μm", "10µm", "kω", "5 kΩ", "δt", "β", "carotene", "newlines and", "tabs more",
    '"tabs and newlines"', "trailing", "repeated", '"python で"', "cafe 北京", "quick -北京 привет*",
)  # fmt: skip
