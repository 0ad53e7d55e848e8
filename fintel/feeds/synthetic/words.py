"""Names and payment texts of the synthetic world, all invented.

The few explicit or pleading tokens are those that FINTRAC published in November 2025 (FD4-24/2025E);
they stand in benign texts too wherever the source's own words make a false hit likely.
"""

from __future__ import annotations

import numpy as np

from fintel.feeds.synthetic.geography import Ints


def _names(table: str) -> dict[str, str]:
    """Lines of 'culture name name …' as one text of names by culture."""
    found: dict[str, str] = {}
    for line in table.strip().splitlines():
        culture, names = line.split(" ", 1)
        found[culture] = f"{found[culture]} {names}" if culture in found else names
    return found


def _texts(table: str) -> dict[str, dict[str, tuple[str, ...]]]:
    """Lines of 'kind language text; text; …' as texts by kind and language."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for line in table.strip().splitlines():
        kind, language, texts = line.split(" ", 2)
        run = found.setdefault(kind, {})
        run[language] = (*run.get(language, ()), *texts.split("; "))
    return found


GIVEN = _names("""
en James Mary Robert Linda Michael Susan David Karen William Nancy Thomas Lisa Daniel Emma Matthew Olivia Mark
en Grace Paul Chloe Steven Hannah Andrew Zoe Kevin Megan Brian Sarah George Ruth Edward Amy Jason Laura Ryan
en Alice Jacob Diane Gary Joan
de Lukas Anna Jonas Lena Stefan Julia Tobias Sabine Markus Katrin Uwe Heike Felix Marie Jürgen Petra
tl Maria Jose Angelica Mark Jasmine John Rowena Rodel Marites Arnel Cristina Jericho Liza Ramil Aileen Danilo
tl Girlie Nestor Joy Rommel Analyn Edwin Lorna Jun
es José María Juan Guadalupe Luis Rosa Carlos Ana Miguel Carmen Jorge Yolanda Rafael Lucía Pedro Elena Óscar
es Daniela Iván Paola Héctor Sofía Andrés Camila
th Somchai Malee Anong Niran Siriporn Chai Kanya Prasert Suda Wichai Ploy Narong Dao Arthit
hi Rahul Priya Amit Sunita Vijay Anita Suresh Lakshmi Rajesh Meena Imran Fatima Arjun Kavita Deepak Asha
gh Kwame Ama Kofi Akosua Yaw Abena Chidi Ngozi Emeka Amina Wanjiru Otieno Kojo Efua
uk Олена Іван Наталія Андрій Оксана Сергій Ірина Петро Elena Ion Ioana Andrei
fr Camille Julien Sophie Nicolas Isabelle Pierre Nathalie Hugo Chantal Rémi
zh Wing Mei Kai Ling Ho Yan Chun Wai
""")
FAMILY = _names("""
en Smith Johnson Williams Brown Jones Miller Davis Wilson Anderson Taylor Moore Martin Lee Clark Lewis Walker
en Hall Young King Wright Hill Green Adams Baker Nelson Carter Mitchell Roberts Turner Phillips Campbell Parker
en Evans Edwards Collins Stewart Morris Rogers Reed Cook Bell Murphy Bailey Cooper Ward Peterson Gray Watson
en Brooks Kelly Price Bennett Wood Barnes Ross Henderson Coleman Jenkins Perry Powell
de Müller Schmidt Schneider Fischer Weber Meyer Wagner Becker Schulz Hoffmann Koch Richter Klein Wolf Neumann
de Schwarz Braun Krüger
tl Santos Reyes Cruz Bautista Ocampo Garcia Mendoza Torres Villanueva Ramos Aquino Castillo Flores Dela-Cruz
tl Navarro Salazar Mercado Pascual Domingo Soriano Manalo Dizon Abad Ignacio Magsaysay Evangelista
es Hernández García Martínez López González Pérez Rodríguez Sánchez Ramírez Torres Flores Rivera Gómez Díaz Cruz
es Morales Ortiz Gutiérrez Chávez Ruiz Vargas Castro Mejía Rosario Peña Polanco Restrepo Zapata
th Saetang Srisuk Thongchai Boonmee Chaiyasit Wongsa Rattana Suwan Phromma Kaewta
hi Sharma Patel Singh Kumar Nair Khan Reddy Gupta Das Menon Iyer Ali Joseph Thomas
gh Mensah Owusu Asante Boateng Osei Okafor Adeyemi Balogun Eze Mwangi Ochieng Appiah
uk Шевченко Коваленко Бондаренко Ткаченко Мельник Popescu Ionescu Dumitru Кравець Лисенко
fr Dubois Laurent Moreau Lefebvre Girard Mercier Fontaine Chevalier
zh Chan Wong Cheung Lau Leung Ng Kwok Tang
""")
CULTURES = tuple(GIVEN)
STREETS = (
    "Oak", "Maple", "Cedar", "Hill", "Lake", "Park", "River", "Church", "Mill", "Station",
    "North", "South", "Garden", "Market", "Bridge", "School", "Chapel", "Orchard", "Harbour", "Spring",
)  # fmt: skip
TRADES: dict[str, tuple[str, ...]] = {
    "restaurant": ("Kitchen", "Diner", "Grill", "Bistro"), "shop": ("Store", "Market", "Trading"),
    "salon": ("Hair Studio", "Beauty Salon", "Barber"), "spa": ("Wellness Spa", "Massage Therapy"),
    "laundromat": ("Laundry", "Wash House"), "motel": ("Motel", "Inn", "Hostel"),
    "construction": ("Builders", "Contracting"), "cleaning": ("Cleaning Services", "Facility Care"),
    "farm": ("Farms", "Produce"), "labour agency": ("Staffing", "Personnel"),
    "charity": ("Relief Fund", "Foundation", "Parish"), "trade": ("Imports", "Supplies", "Wholesale"),
    "transport": ("Haulage", "Logistics"), "consulting": ("Consulting", "Advisory"),
    "property": ("Properties", "Lettings"), "car dealer": ("Motors", "Auto Sales"),
    "online shop": ("Online", "Direct"), "technology": ("Systems", "Software"),
}  # fmt: skip
INDUSTRIES = tuple(TRADES)
OCCUPATIONS = (
    "student", "nurse", "driver", "teacher", "engineer", "sales representative", "cook", "cleaner",
    "construction worker", "office clerk", "retired", "homemaker", "unemployed", "shop assistant",
    "self-employed", "manager", "care worker", "hairdresser", "farm worker", "software developer",
    "security guard", "warehouse worker",
)  # fmt: skip

#: kind → language → texts. '#' becomes a number. English stands in where a language is missing.
TEXTS = _texts("""
wage en salary; wages; payroll #; pay period #; weekly pay
wage de Lohn; Gehalt #
wage es nómina; salario quincena
wage tl sahod; salary cutoff #
wage th เงินเดือน
wage fr salaire
rent en rent; rent flat #; monthly rent; rent unit #; accommodation
rent de Miete; Miete Wohnung #
rent es renta; alquiler
rent tl upa sa bahay; rent
rent th ค่าเช่า
bill en electricity acct #; water bill #; internet #; phone bill; insurance #
bill de Strom #; Versicherung #
bill es luz #; agua #
bill tl bayad kuryente; load #
social en dinner; pizza night 🍕; drinks; thanks!; taxi split; bday present; groceries half; concert tix; 🍕🍕
social en cheese board 🧀; lunch; for last night's food; football subs; tots nursery snack money
social en school girl costume refund; candy 🍭; baby shower 🍼; see you sat; cp rent half
social de Danke; Essen; Geschenk
social es cena; gracias; mi parte; taxi
social tl salamat; bayad utang; ambag; pang-meryenda
social th ค่าอาหาร; ขอบคุณ
social fr resto; merci
support en family support; allowance; allotment; medical bills; school expenses; living expenses; for mama
support en medicine; help for house; gift; uniforms; education
support tl padala; sustento; baon; pang-ospital; gamot; para kay nanay; allowance ng bata
support es ayuda familiar; medicina; para la casa; manutención
support th ค่ารักษา; ให้แม่
support uk допомога родині; на ліки
support fr aide familiale
support de Unterstützung Familie
school en school fees; tuition; school fees term #; uniform; school expenses; tuition fee stud #
school tl matrikula; tuition #; pang-enroll
school es matrícula; colegiatura #
school th ค่าเทอม
school de Schulgeld #; Kita Beitrag
school fr frais scolaires
gift en gift; happy birthday; xmas present; wedding gift; merry christmas; tip
gift es regalo; feliz cumple
gift tl regalo; aguinaldo
gift de Geschenk
gift fr cadeau
loan en loan repayment; owed #; loan; installment #; advance
loan es préstamo; abono #
loan tl hulog #; bayad utang; 5-6 hulog
invoice en invoice #; INV-#; order #; PO # part payment; services rendered; contract #; consulting #
invoice de Rechnung #; RE-#
invoice es factura #
invoice fr facture #
service en massage; massage thu; cleaning; tutoring; garden work; hair; entertainment; personal training
service en booking; companion visit; 1h; session #
service de Massage; Nachhilfe
service es masaje; limpieza
service tl masahe; labada
service th นวด
handle en ig @user#; snap @mia#; for @streamer#; subs @art#; tg @kay#; discord nitro #; custom art @draws#
club en membership #; team kit; subs spring; trip deposit; raffle; dues; bus trip; house kitty; utilities share
club de Mitgliedsbeitrag; Klassenkasse
club es tanda #; cooperación; cuota
club tl paluwagan #; ambag; hulog #
charity en donation; offering; tithe; relief appeal #; sponsor child #
charity es ofrenda; donativo
charity tl ikapu; donasyon
charity de Spende
invest en investment; account top up #; trading deposit; crypto; wallet #; investment plan #
coins en investment; account top up #; trading deposit; crypto; wallet #; btc; savings plan; buy order #
coins en weekly buy; eth; fee; cold wallet #
coins de Sparplan; Einzahlung #
penalty en taxes; fees; withdrawal fee; release fee; unlock penalty; tax payment #; account fees
levy en income tax #; council tax; tax bill #; late fee; legal fees; parking penalty #; registration fee
levy de Steuer #; Gebühr #
levy es impuestos; multa #
romance en for hospital emergency; customs fee; plane ticket; help till friday; for my love; legal fees; loan
romance en visa costs
recruit en placement fee; agency fee #; recruitment fee; visa; passport; training; housing deduction
recruit en transport fee; advance; debt #
recruit tl placement fee; hulog agency #
recruit es cuota agencia; visa
plead en please stop; delete the video; last time please
sale en tickets; sneakers; phone case; used bike; item #; game skin; textbook; shipping #
sale de Kleinanzeige #
sale es artículo #
sale tl bayad order #
""")

KINDS = tuple(TEXTS)
LANGUAGES = ("en", "de", "es", "tl", "th", "uk", "fr")
LANGUAGE = {name: i for i, name in enumerate(LANGUAGES)}

#: Merchant category → (share of card payments, median USD, spread, night share, names, online).
MERCHANTS: dict[str, tuple[float, float, float, float, tuple[str, ...], bool]] = {
    "5411": (26, 38, 0.8, 0.04, ("Fresh Basket", "Corner Grocer", "Valley Foods", "Super Savers"), False),
    "5499": (9, 11, 0.9, 0.25, ("Quick Stop", "Night Owl Mart"), False),
    "5812": (9, 34, 0.6, 0.15, ("Blue Table", "Casa Roja", "Noodle House"), False),
    "5814": (10, 13, 0.5, 0.2, ("Burger Barn", "Wrap & Go", "DoorBite Delivery"), False),
    "5541": (8, 42, 0.5, 0.15, ("Roadside Fuel", "Petro Plus"), False),
    "5912": (5, 19, 0.8, 0.08, ("City Pharmacy", "Wellchem"), False),
    "5651": (3, 55, 0.7, 0.03, ("Family Outfit", "Thread & Co"), False),
    "5621": (1.5, 60, 0.7, 0.03, ("Lady Vogue", "Rosa Moda"), False),
    "5641": (1, 35, 0.6, 0.02, ("Little Steps Kids",), False),
    "5977": (1.2, 28, 0.7, 0.02, ("Glow Cosmetics",), False),
    "5732": (1.5, 120, 1.0, 0.05, ("Volt Electronics", "Gadget Yard"), False),
    "4812": (0.6, 95, 1.0, 0.05, ("Ring Phones",), False),
    "4814": (2, 25, 0.5, 0.1, ("TalkTime Prepaid", "WorldCall Minutes"), True),
    "4121": (4, 17, 0.6, 0.35, ("Swift Cab", "RideNow"), False),
    "4131": (1.2, 24, 0.6, 0.1, ("Intercity Bus",), False),
    "7523": (2.5, 7, 0.6, 0.12, ("City Parking", "ParkEasy"), False),
    "5813": (2, 27, 0.7, 0.6, ("The Lantern Bar", "Club Meridian"), False),
    "7230": (1.2, 40, 0.6, 0.01, ("Shear Style", "Barber Bros"), False),
    "7298": (0.5, 70, 0.5, 0.05, ("Serenity Spa",), False),
    "7297": (0.3, 75, 0.4, 0.15, ("Lotus Massage",), False),
    "5816": (1.6, 16, 0.9, 0.35, ("PlayVault Games", "PixelStore"), True),
    "5817": (1, 8, 0.6, 0.3, ("AppBazaar",), True),
    "5968": (2, 12, 0.4, 0.3, ("StreamBox", "FanCircle Creators"), True),
    "4816": (0.9, 10, 0.5, 0.35, ("QuietTunnel VPN", "DropNest File Hosting", "CloudLocker"), True),
    "5734": (0.5, 35, 0.7, 0.25, ("ScreenGrab Recorder", "CleanTrace Software", "OfficeSoft"), True),
    "5967": (0.3, 25, 0.6, 0.6, ("LiveCam Chat",), True),
    "7273": (0.6, 22, 0.5, 0.4, ("MeetWell Dating", "CityDates"), True),
    "7311": (0.6, 14, 0.7, 0.3, ("LocalPosts Classifieds", "AdBoard Listings"), True),
    "5947": (0.9, 40, 0.7, 0.05, ("CardCorner Gift Cards", "GiftHub Online"), True),
    "6540": (0.8, 60, 0.7, 0.15, ("LoadUp Prepaid",), True),
    "7011": (0.8, 115, 0.5, 0.3, ("Traveller's Rest", "Budget Lodge", "Harbor Hotel"), False),
    "4722": (0.3, 210, 0.9, 0.2, ("BookAway Travel",), True),
    "4511": (0.3, 320, 0.7, 0.15, ("Pacific Arc Air", "Northline Airways"), True),
    "7512": (0.2, 140, 0.6, 0.05, ("GoRent Cars",), False),
    "7995": (1.2, 30, 1.1, 0.5, ("LuckyLine Betting",), True),
    "6051": (0.7, 60, 1.2, 0.3, ("CoinHarbor Exchange", "SwapInstant"), True),
    "8211": (0.4, 180, 0.8, 0.01, ("St. Anne School", "Riverside Academy"), False),
    "8351": (0.3, 150, 0.7, 0.01, ("Sunny Days Child Care",), False),
    "5944": (0.4, 150, 1.0, 0.02, ("Goldleaf Jewellery",), False),
    "5200": (1.5, 45, 0.9, 0.01, ("Home Hardware Depot",), False),
    "8062": (0.5, 120, 1.0, 0.1, ("General Hospital",), False),
    "7994": (0.3, 18, 0.6, 0.2, ("Arcade Planet",), False),
}  # fmt: skip
MCC = tuple(MERCHANTS)
MCC_INDEX = {code: i for i, code in enumerate(MCC)}


def _typo(rng: np.random.Generator, text: str) -> str:
    """One slip of the finger: a letter left out, doubled or swapped with the next."""
    if len(text) < 5:
        return text
    at = int(rng.integers(1, len(text) - 2))
    slip = int(rng.integers(3))
    if slip == 0:
        return text[:at] + text[at + 1 :]
    if slip == 1:
        return text[:at] + text[at] + text[at:]
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


class Phrases:
    """Every text once, in runs by kind and language, with capitals and typos mixed in.

    ``texts`` lists them; ``pick`` draws indices. A text that ends in a number has '#' for it.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.texts: list[str] = []
        self._first: Ints = np.zeros((len(KINDS), len(LANGUAGES)), dtype=np.int64)
        self._count: Ints = np.zeros((len(KINDS), len(LANGUAGES)), dtype=np.int64)
        for k, kind in enumerate(KINDS):
            for i, language in enumerate(LANGUAGES):
                base = TEXTS[kind].get(language)
                if base is None:
                    self._first[k, i], self._count[k, i] = self._first[k, 0], self._count[k, 0]
                    continue
                run = [form for text in base for form in (text, text, text.upper(), text.capitalize())]
                run += [_typo(rng, str(text)) for text in rng.choice(np.array(base), max(2, len(base) // 2))]
                self._first[k, i], self._count[k, i] = len(self.texts), len(run)
                self.texts += run

    def pick(self, rng: np.random.Generator, kind: Ints, language: Ints) -> Ints:
        """Index of a text for each row; -1 where ``kind`` is -1 (no text)."""
        row = np.maximum(kind, 0)
        drawn = self._first[row, language] + np.floor(rng.random(len(row)) * self._count[row, language])
        return np.where(kind < 0, -1, drawn).astype(np.int64)


def text_kinds(rng: np.random.Generator, n: int, mix: dict[str, float]) -> Ints:
    """Draw ``n`` kinds by weight; 'none' is -1."""
    names = list(mix)
    weights = np.array([mix[name] for name in names])
    codes = np.array([-1 if name == "none" else KINDS.index(name) for name in names], dtype=np.int64)
    return codes[rng.choice(len(names), n, p=weights / weights.sum())]
