// Has viser's page draw splats as they were fitted: in colours that depend on where they are seen from, and under
// the filter that keeps the weight of those smaller than a pixel. viser's own shader has one colour for each,
// makes small ones too heavy or leaves them out, and leaves out large ones whose middle lies beyond the picture.

// What changes in the vertex shader, and in the fragment shader. Each text must be there once.
const LIKE_FITTED = [
  ["precision mediump float;", "precision highp float;"],
  ["void main () {", `uniform usampler2D harmonics;

  // Four signed bytes of a channel: a constant, and the coefficients of degree 1; fine near 0.
  vec4 unpacked(uint four) {
    vec4 v = vec4(ivec4(int(four) << 24, int(four) << 16, int(four) << 8, int(four)) >> 24);
    return v * abs(v) * (RANGE / (127.0 * 127.0));
  }

  void main () {`],
  [`float clip = 1.1 * pos2d.w;
    if (pos2d.x < -clip || pos2d.x > clip || pos2d.y < -clip || pos2d.y > clip)
      return;`, `vec2 edge = 1.3 / vec2(projectionMatrixCustom[0][0], projectionMatrixCustom[1][1]);
    vec2 slope = clamp(c_cam.xy / c_cam.z, -edge, edge);`],
  ["-(fx * c_cam.x) / (c_cam.z * c_cam.z), -(fy * c_cam.y) / (c_cam.z * c_cam.z), 0.",
    "-fx * slope.x / c_cam.z, -fy * slope.y / c_cam.z, 0."],
  [`float weightedDeterminant = vRgba.a * (diag1 * diag2 - offDiag * offDiag);
    if (weightedDeterminant < 0.25)
      return;
    vPosition = position.xy;`, `float a = cov_proj[0][0], c = cov_proj[1][1];
    float sharp = max(a * c - offDiag * offDiag, 0.0), whole = sharp + 0.3 * (a + c) + 0.09;
    vRgba.a *= sqrt(sharp / whole);
    if (vRgba.a * 255.0 < 1.0)
      return;
    float reach = 0.5 * sqrt(log(255.0 * vRgba.a));
    v1 *= reach;
    v2 *= reach;
    vPosition = reach * position.xy;
    uint wide = uint(textureSize(harmonics, 0).x);
    uvec4 own = texelFetch(harmonics, ivec2(sortedIndex % wide, sortedIndex / wide), 0);
    vec3 toward = normalize(transpose(mat3(T_camera_group)) * c_cam.xyz);
    vec4 basis = vec4(1.0, 0.4886025 * vec3(-toward.y, toward.z, -toward.x));
    vRgba.rgb += vec3(dot(basis, unpacked(own.x)), dot(basis, unpacked(own.y)), dot(basis, unpacked(own.z)));
    vRgba.rgb = max(vRgba.rgb, 0.0);`],
];
const DOWN_TO = [["if (A < -4.0) discard;", ""], ["if (B < 0.01) discard;", "if (B * 255.0 < 1.0) discard;"]];

// The text with each change made; null if one doesn't fit: another version of viser, which draws as it will.
function changed(text, changes) {
  for (const [from, to] of changes) {
    const found = text.split(from);
    if (found.length !== 2) return null;
    text = found.join(to);
  }
  return text;
}

// view: the window of viser's page. splats: its mesh of splats. harmonics: 12 planes of a signed byte for each
// splat, red's constant and three coefficients, then green's and blue's. range: what the byte 127 stands for.
function drawLikeFitted(view, splats, harmonics, range) {
  const material = splats.material, given = material.uniforms.textureBuffer.value;
  const vertex = changed(material.vertexShader, LIKE_FITTED);
  const fragment = changed(material.fragmentShader, DOWN_TO);
  if (!vertex || !fragment) return false;
  const count = harmonics.length / 12, width = given.image.width, height = Math.ceil(count / width);
  const bytes = new view.Uint8Array(16 * width * height);
  for (let plane = 0; plane < 12; plane++) {
    const from = plane * count, at = 4 * Math.floor(plane / 4) + plane % 4;
    for (let i = 0; i < count; i++) bytes[16 * i + at] = harmonics[from + i];
  }
  const texture = new given.constructor(new view.Uint32Array(bytes.buffer), width, height, given.format, given.type);
  texture.internalFormat = given.internalFormat;
  texture.needsUpdate = true;
  material.uniforms.harmonics = { value: texture };
  material.vertexShader = vertex.replace("RANGE", range.toFixed(4));
  material.fragmentShader = fragment;
  material.needsUpdate = true;
  return true;
}
