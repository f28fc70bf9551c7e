import { randomInt } from 'node:crypto'

/** Words that MLflow's names begin with: what tells generated names from given ones looks at the first word. */
const QUALITIES =
  'able adaptable adorable adventurous agreeable ambitious amusing awesome bold bright calm capable carefree caring charming classy clean colorful dapper dashing dazzling delightful efficient enchanting enthused fearless flawless fortunate fun gentle gifted handsome honorable illustrious industrious inquisitive intelligent judicious kindly learned legendary likeable luminous lyrical magnificent marvelous melodic merciful nimble orderly overjoyed peaceful persistent placid polite popular powerful rare receptive resilient respected righteous serious silent sincere skillful smiling spiffy stately stylish suave tasteful thoughtful treasured trusting unique upbeat useful valuable victorious welcoming whimsical wise youthful zealous'.split(
    ' ',
  )
const THINGS =
  'acorn alder anchor apple aspen badger barley basin bay beacon bear beaver beech birch bison breeze bridge brook canal canyon cedar cliff clover cloud comet coral cove crane creek crow dale deer delta dove duck eagle egret elk elm falcon fern ferry field finch fjord flint ford forge fox frog garnet geyser glade goose grove gull harbor hare hawk hazel heath heron hill horse ibex inlet iris island ivy jade jay kelp kestrel kite lagoon lake lark lemur lily linden lion loon lotus lynx maple marlin marsh marten meadow mill mole moose moss moth newt oak ocean opal orca osprey otter owl panda pear peak pebble perch pike pine plover pond poplar puffin quail quartz rapids raven reed reef ridge river robin rook rowan salmon seal shore shrew sluice sorrel sparrow spring spruce stork stream summit swan tern thrush tide tiger trout tulip vale valley vole wader walrus weir whale willow wolf wren yak'.split(
    ' ',
  )
const NAME_LENGTH_MAX = 20
const ATTEMPTS_MAX = 10
const NUMBER_MAX = 1000

/** `<quality>-<thing>-<number>` of at most 20 characters, the form that MLflow gives to a run without a name. */
export function randomRunName(): string {
  let name = ''
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    name = `${pick(QUALITIES)}-${pick(THINGS)}-${randomInt(NUMBER_MAX)}`
    if (name.length <= NAME_LENGTH_MAX) return name
  }
  return name.slice(0, NAME_LENGTH_MAX)
}

function pick(words: readonly string[]): string {
  return words[randomInt(words.length)] as string
}
