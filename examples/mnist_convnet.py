"""A convnet that reads handwritten digits, then the same one without its pooling.

Run it with `make demo`, or `python examples/mnist_convnet.py`.
"""

import time
import warnings

import convmill
from convmill import data, layers, models, utils

EPOCHS = 5
BATCH_SIZE = 64

# Keras would rather see an Input layer; `input_shape` says the same on the first layer.
warnings.filterwarnings("ignore", "Do not pass an `input_shape`")

# The images: 28x28 pixels of 0..255. One channel more, and pixels of 0..1, is what the net reads.
digits, fallback = data.load_mnist_or_digits()
if fallback:
    print(fallback)
x_train, y_train = digits.x_train, digits.y_train
x_test, y_test = digits.x_test, digits.y_test

train_images = x_train.reshape((len(x_train), 28, 28, 1)).astype("float") / 255
test_images = x_test.reshape((len(x_test), 28, 28, 1)).astype("float") / 255
train_labels = utils.to_categorical(y_train)
test_labels = utils.to_categorical(y_test)

# The convnet: convolutions find patterns; pooling keeps the strongest, so that the next
# convolution sees more of the image.
model = models.Sequential()
model.add(layers.Conv2D(32, (3, 3), activation="relu", input_shape=(28, 28, 1)))
model.add(layers.MaxPooling2D((2, 2)))
model.add(layers.Conv2D(64, (3, 3), activation="relu"))
model.add(layers.MaxPooling2D((2, 2)))
model.add(layers.Conv2D(64, (3, 3), activation="relu"))
model.add(layers.Flatten())
model.add(layers.Dense(64, activation="relu"))
model.add(layers.Dense(10, activation="softmax"))
model.summary()

model.compile(optimizer="rmsprop", loss="categorical_crossentropy", metrics=["accuracy"])

start = time.perf_counter()
model.fit(train_images, train_labels, epochs=EPOCHS, batch_size=BATCH_SIZE)
seconds = time.perf_counter() - start

test_loss, test_accuracy = model.evaluate(test_images, test_labels, verbose=0)
print(f"\nTest loss {test_loss:.4f}, test accuracy {test_accuracy:.4f} ({digits.name})")

model.save("mnist_convnet.keras")
print("Saved mnist_convnet.keras")
compile_seconds = convmill.explain(model).compile_seconds
print(f"Training took {seconds:.1f} s, compiling (training and testing) {compile_seconds:.1f} s\n")

# The control: the same convolutions, nothing pooled between them.
control = models.Sequential()
control.add(layers.Conv2D(32, (3, 3), activation="relu", input_shape=(28, 28, 1)))
control.add(layers.Conv2D(64, (3, 3), activation="relu"))
control.add(layers.Conv2D(64, (3, 3), activation="relu"))
control.summary()

_, height, width, channels = control.output_shape
coefficients = height * width * channels
parameters = (coefficients + 1) * 512
window = 1 + sum(layer.kernel_size[0] - 1 for layer in control.layers)

print(f"""
Without pooling
- a unit of the third convolution sees only {window}x{window} pixels of the image;
- the last feature map is {height}x{width}x{channels}: {coefficients:,} coefficients an image;
- a Dense layer of 512 on it would have {parameters / 1e6:.2f} M parameters,
  {parameters / len(train_images):,.0f} for each of the {len(train_images):,} training images.""")
