import { create } from '@bufbuild/protobuf';
import { Severity } from '@landfall/proto/landfall/vision/v1/inspection_pb.js';
import { type ProfileSpec, ProfileSpecSchema } from '@landfall/proto/landfall/vision/v1/profile_pb.js';

const { SLIGHT, MODERATE, SEVERE } = Severity;

/** Conclusion and advice by severity: slight, moderate, severe. */
type Rulings = readonly [readonly [string, string], readonly [string, string], readonly [string, string]];

function type(id: string, name: string, rulings: Rulings) {
  const dispositions = [SLIGHT, MODERATE, SEVERE].map((severity, i) => {
    const [conclusion, advice] = rulings[i]!;
    return { severity, conclusion, advice };
  });
  return { id, name, dispositions };
}

/** Boxes are told in hundredths of the image, which small models learn to say well. */
const shared = {
  boxScale: 100,
  threshold: 0.35,
  maxDefects: 8,
  review: { sampleRate: 0.02, uncertainFrom: 0.3, uncertainTo: 0.7 },
};

/** Industrial surfaces, in Chinese. */
export const surface: ProfileSpec = create(ProfileSpecSchema, {
  ...shared,
  language: 'zh',
  description: '工业产品表面缺陷检测:裂纹、变形、划痕、污渍',
  product: '工业产品表面',
  sound: { conclusion: '表面未见缺陷,产品合格', advice: '正常放行' },
  defectTypes: [
    type('crack', '裂纹', [
      ['存在轻微裂纹,强度可能受影响', '隔离该件,用渗透检测复核后再定'],
      ['存在裂纹,产品不合格', '停止流转,返修或报废,并检查同批产品'],
      ['存在严重裂纹,产品不合格', '立即报废,停线排查模具与工艺参数'],
    ]),
    type('deformation', '变形', [
      ['存在轻微变形,尺寸需复核', '测量关键尺寸,合格则放行'],
      ['存在变形,产品不合格', '矫形返修后复检,并检查夹具'],
      ['存在严重变形,产品不合格', '报废,停线检查模具与装夹'],
    ]),
    type('scratch', '划痕', [
      ['存在轻微划痕,可让步接收', '抛光处理后放行'],
      ['存在划痕,外观不合格', '返修抛光并复检,检查搬运工序'],
      ['存在严重划痕,产品不合格', '报废或降级,排查传送与夹持部件'],
    ]),
    type('stain', '污渍', [
      ['存在轻微污渍,清洁后合格', '清洁后放行'],
      ['存在污渍,外观不合格', '清洗并复检,检查清洗工序'],
      ['存在严重污渍,产品不合格', '返工清洗,无法去除则报废,排查油污来源'],
    ]),
  ],
});

/** The same in English. */
export const surfaceEn: ProfileSpec = create(ProfileSpecSchema, {
  ...shared,
  language: 'en',
  description: 'Defects of industrial surfaces: cracks, deformations, scratches, stains',
  product: 'industrial surface',
  sound: { conclusion: 'No defect is seen; the piece passes', advice: 'Release' },
  defectTypes: [
    type('crack', 'crack', [
      [
        'A slight crack; strength may suffer',
        'Set the piece aside and test it with penetrant before deciding',
      ],
      ['A crack; the piece fails', 'Stop it, repair or scrap it, and look at the batch'],
      ['A severe crack; the piece fails', 'Scrap it; stop the line and check tooling and process'],
    ]),
    type('deformation', 'deformation', [
      [
        'A slight deformation; dimensions are in doubt',
        'Measure the critical dimensions; release when in tolerance',
      ],
      ['A deformation; the piece fails', 'Straighten and inspect again; check the fixture'],
      ['A severe deformation; the piece fails', 'Scrap it; stop the line and check tooling and clamping'],
    ]),
    type('scratch', 'scratch', [
      ['A slight scratch; acceptable by concession', 'Polish and release'],
      ['A scratch; the finish fails', 'Polish and inspect again; check handling'],
      ['A severe scratch; the piece fails', 'Scrap or downgrade it; check conveyor and grippers'],
    ]),
    type('stain', 'stain', [
      ['A slight stain; passes once cleaned', 'Clean and release'],
      ['A stain; the finish fails', 'Wash and inspect again; check the washing step'],
      ['A severe stain; the piece fails', 'Wash again, scrap if it stays; find where it comes from'],
    ]),
  ],
});
